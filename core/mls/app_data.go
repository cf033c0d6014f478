package mls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mimigate/core/mls/internal/codec"
)

// ComponentID is the code point of an application component (draft-ietf-mls-extensions-10 §4).
type ComponentID uint16

// Components of draft-ietf-mls-extensions-10 §7; 0x8000 and up are private.
const (
	ComponentAppComponents        ComponentID = 0x0001
	ComponentSafeAAD              ComponentID = 0x0002
	ComponentContentMediaTypes    ComponentID = 0x0003
	ComponentLastResortKeyPackage ComponentID = 0x0004
	ComponentAppAck               ComponentID = 0x0005
)

// Errors about application data.
var (
	// ErrAppData: a dictionary, AppDataUpdate or AppEphemeral breaks a rule of draft-ietf-mls-extensions-10 §4,
	// or the application refused it.
	ErrAppData = errors.New("mls: invalid application data")
	// ErrSafeAAD: authenticated_data is not what the group's safe_aad component demands (draft-ietf-mls-extensions-10 §4.9).
	ErrSafeAAD = errors.New("mls: authenticated data is not SafeAAD")
)

// ComponentData is one entry of an AppDataDictionary.
type ComponentData struct {
	ID   ComponentID
	Data []byte
}

// AppDataDictionary is the content of the app_data_dictionary extension: entries strictly increasing by
// component (draft-ietf-mls-extensions-10 §4.6).
type AppDataDictionary []ComponentData

// MarshalMLS implements [Marshaler].
func (a AppDataDictionary) MarshalMLS(e *Encoder) {
	start := e.Open()
	for _, c := range a {
		e.Uint16(uint16(c.ID))
		e.Opaque(c.Data)
	}
	e.Close(start)
}

// UnmarshalMLS implements [Unmarshaler].
func (a *AppDataDictionary) UnmarshalMLS(d *Decoder) {
	*a = nil
	d.Vector(func(d *Decoder) {
		c := ComponentData{ID: ComponentID(d.Uint16()), Data: d.Opaque()}
		if n := len(*a); n > 0 && (*a)[n-1].ID >= c.ID {
			d.Failf("component %#04x out of order", c.ID)
		}
		*a = append(*a, c)
	})
}

// Get returns the data of component id.
func (a AppDataDictionary) Get(id ComponentID) ([]byte, bool) {
	i, ok := a.find(id)
	if !ok {
		return nil, false
	}
	return a[i].Data, true
}

func (a AppDataDictionary) find(id ComponentID) (int, bool) {
	return slices.BinarySearchFunc(a, id, func(c ComponentData, id ComponentID) int { return int(c.ID) - int(id) })
}

// With returns a copy in which id has the given data; nil data removes the entry.
func (a AppDataDictionary) With(id ComponentID, data []byte) AppDataDictionary {
	i, ok := a.find(id)
	out := slices.Clone(a)
	switch {
	case data == nil && ok:
		return slices.Delete(out, i, i+1)
	case data == nil:
		return out
	case ok:
		out[i].Data = data
		return out
	default:
		return slices.Insert(out, i, ComponentData{ID: id, Data: data})
	}
}

// Extension returns the dictionary as an app_data_dictionary extension.
func (a AppDataDictionary) Extension() Extension {
	return Extension{Type: ExtAppDataDictionary, Data: Marshal(a)}
}

// dictionaryOf returns the dictionary in a list of extensions, nil when there is none.
func dictionaryOf(xs Extensions) (AppDataDictionary, error) {
	data, ok := xs.Get(ExtAppDataDictionary)
	if !ok {
		return nil, nil
	}
	var dict AppDataDictionary
	if err := Unmarshal(data, &dict); err != nil {
		return nil, fmt.Errorf("app_data_dictionary: %w", err)
	}
	return dict, nil
}

// Dictionary returns the group's app_data_dictionary; empty when it has none. It aliases the context.
func (c *GroupContext) Dictionary() (AppDataDictionary, error) { return dictionaryOf(c.Extensions) }

// Dictionary returns the leaf's app_data_dictionary; empty when it has none. It aliases the leaf node.
func (l *LeafNode) Dictionary() (AppDataDictionary, error) { return dictionaryOf(l.Extensions) }

// ComponentsList is the data of components app_components and safe_aad (draft-ietf-mls-extensions-10 §5):
// in a leaf what it supports, in the GroupContext what it requires.
type ComponentsList []ComponentID

// MarshalMLS implements [Marshaler].
func (l ComponentsList) MarshalMLS(e *Encoder) { codec.EncodeUint16s(e, l) }

// UnmarshalMLS implements [Unmarshaler].
func (l *ComponentsList) UnmarshalMLS(d *Decoder) {
	if *l = codec.DecodeUint16s[ComponentID](d); len(*l) > maxListed {
		d.Failf("%d components listed", len(*l))
	}
}

// components returns the list stored under component id of a dictionary, nil when absent.
func (a AppDataDictionary) components(id ComponentID) (ComponentsList, error) {
	data, ok := a.Get(id)
	if !ok {
		return nil, nil
	}
	var list ComponentsList
	return list, Unmarshal(data, &list)
}

func checkLeafDictionary(l *LeafNode) error {
	dict, err := l.Dictionary()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	for _, id := range []ComponentID{ComponentAppComponents, ComponentSafeAAD} {
		if _, err := dict.components(id); err != nil {
			return fmt.Errorf("%w: component %#04x: %w", ErrLeafNode, id, err)
		}
	}
	return nil
}

// checkComponents verifies that a leaf supports the components the group requires (draft-ietf-mls-extensions-10 §5).
func (c *GroupContext) checkComponents(l *LeafNode) error {
	dict, err := c.Dictionary()
	if err != nil || dict == nil {
		return err
	}
	required, err := dict.components(ComponentAppComponents)
	if err != nil || len(required) == 0 {
		return err
	}
	have, err := l.Dictionary()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	supported, err := have.components(ComponentAppComponents)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	for _, id := range required {
		if !slices.Contains(supported, id) {
			return fmt.Errorf("%w: no support for required component %#04x (mls-extensions-10 §5)", ErrLeafNode, id)
		}
	}
	return nil
}

// AppDataUpdateOperation says what an AppDataUpdate does.
type AppDataUpdateOperation uint8

// AppDataUpdate operations.
const (
	OpUpdate AppDataUpdateOperation = 1
	OpRemove AppDataUpdateOperation = 2
)

// AppDataUpdate changes one component of the group's dictionary (draft-ietf-mls-extensions-10 §4.7).
type AppDataUpdate struct {
	Component ComponentID
	Operation AppDataUpdateOperation
	Update    []byte // OpUpdate; its meaning is the component's
}

// MarshalMLS implements [Marshaler].
func (a *AppDataUpdate) MarshalMLS(e *Encoder) {
	e.Uint16(uint16(a.Component))
	e.Uint8(uint8(a.Operation))
	if a.Operation == OpUpdate {
		e.Opaque(a.Update)
	}
}

// UnmarshalMLS implements [Unmarshaler].
func (a *AppDataUpdate) UnmarshalMLS(d *Decoder) {
	*a = AppDataUpdate{Component: ComponentID(d.Uint16()), Operation: AppDataUpdateOperation(d.Uint8())}
	switch a.Operation {
	case OpUpdate:
		a.Update = d.Opaque()
	case OpRemove:
	default:
		d.Failf("AppDataUpdate operation %d", a.Operation)
	}
}

// AppEphemeral carries data for the application inside a commit and changes no state (draft-ietf-mls-extensions-10 §4.8).
type AppEphemeral struct {
	Component ComponentID
	Data      []byte
}

// MarshalMLS implements [Marshaler].
func (a *AppEphemeral) MarshalMLS(e *Encoder) {
	e.Uint16(uint16(a.Component))
	e.Opaque(a.Data)
}

// UnmarshalMLS implements [Unmarshaler].
func (a *AppEphemeral) UnmarshalMLS(d *Decoder) {
	*a = AppEphemeral{Component: ComponentID(d.Uint16()), Data: d.Opaque()}
}

// SafeAADItem is one item of a SafeAAD.
type SafeAADItem struct {
	Component ComponentID
	Data      []byte
}

// SafeAAD is the form of authenticated_data in a group whose dictionary has component safe_aad
// (draft-ietf-mls-extensions-10 §4.9): items strictly increasing by component.
type SafeAAD []SafeAADItem

// MarshalMLS implements [Marshaler].
func (s SafeAAD) MarshalMLS(e *Encoder) {
	start := e.Open()
	for _, item := range s {
		e.Uint16(uint16(item.Component))
		e.Opaque(item.Data)
	}
	e.Close(start)
}

// UnmarshalMLS implements [Unmarshaler].
func (s *SafeAAD) UnmarshalMLS(d *Decoder) {
	*s = nil
	d.Vector(func(d *Decoder) {
		item := SafeAADItem{Component: ComponentID(d.Uint16()), Data: d.Opaque()}
		if n := len(*s); n > 0 && (*s)[n-1].Component >= item.Component {
			d.Failf("SafeAAD component %#04x out of order", item.Component)
		}
		*s = append(*s, item)
	})
}

// ParseSafeAAD reads authenticated_data as SafeAAD. Bytes after it are ignored unless strict: the draft's
// negotiation section speaks of a prefix, §4.9 of the whole field. The error wraps [ErrSafeAAD].
func ParseSafeAAD(data []byte, strict bool) (SafeAAD, error) {
	d := NewDecoder(data)
	var s SafeAAD
	s.UnmarshalMLS(d)
	if strict {
		d.Finish()
	}
	if d.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrSafeAAD, d.Err())
	}
	return s, nil
}

// Parameter is a media type parameter.
type Parameter struct {
	Name, Value string
}

// MediaType is draft-ietf-mls-extensions-10 §6.2: "text/plain" with parameters.
type MediaType struct {
	Type       string
	Parameters []Parameter
}

// MarshalMLS implements [Marshaler].
func (m *MediaType) MarshalMLS(e *Encoder) {
	e.Opaque([]byte(m.Type))
	e.Vector(func(e *Encoder) {
		for _, p := range m.Parameters {
			e.Opaque([]byte(p.Name))
			e.Opaque([]byte(p.Value))
		}
	})
}

// UnmarshalMLS implements [Unmarshaler].
func (m *MediaType) UnmarshalMLS(d *Decoder) {
	*m = MediaType{Type: string(d.Opaque())}
	d.Vector(func(d *Decoder) {
		m.Parameters = append(m.Parameters, Parameter{Name: string(d.Opaque()), Value: string(d.Opaque())})
	})
}

// Matches compares two media types: type and parameter names without regard to case, parameters in any order.
func (m *MediaType) Matches(o *MediaType) bool {
	if !strings.EqualFold(m.Type, o.Type) || len(m.Parameters) != len(o.Parameters) {
		return false
	}
	for _, p := range m.Parameters {
		if !slices.ContainsFunc(o.Parameters, func(q Parameter) bool { return strings.EqualFold(p.Name, q.Name) && p.Value == q.Value }) {
			return false
		}
	}
	return true
}

// MediaTypeList is the data of component content_media_types; never empty.
type MediaTypeList []MediaType

// MarshalMLS implements [Marshaler].
func (l MediaTypeList) MarshalMLS(e *Encoder) {
	e.Vector(func(e *Encoder) {
		for i := range l {
			l[i].MarshalMLS(e)
		}
	})
}

// UnmarshalMLS implements [Unmarshaler].
func (l *MediaTypeList) UnmarshalMLS(d *Decoder) {
	*l = nil
	d.Vector(func(d *Decoder) {
		var m MediaType
		m.UnmarshalMLS(d)
		*l = append(*l, m)
	})
	if len(*l) == 0 {
		d.Failf("empty list of media types")
	}
}

// ApplicationFraming is the form of application_data in a group whose dictionary has component
// content_media_types (draft-ietf-mls-extensions-10 §6.2). An empty type means the first one of the group's list.
type ApplicationFraming struct {
	MediaType MediaType
	Content   []byte
}

// MarshalMLS implements [Marshaler].
func (a *ApplicationFraming) MarshalMLS(e *Encoder) {
	a.MediaType.MarshalMLS(e)
	e.Opaque(a.Content)
}

// UnmarshalMLS implements [Unmarshaler].
func (a *ApplicationFraming) UnmarshalMLS(d *Decoder) {
	a.MediaType.UnmarshalMLS(d)
	a.Content = d.Opaque()
}

// ContentMediaTypes returns the group's required media types, nil when application_data is not framed.
func (c *GroupContext) ContentMediaTypes() (MediaTypeList, error) {
	dict, err := c.Dictionary()
	if err != nil {
		return nil, err
	}
	data, ok := dict.Get(ComponentContentMediaTypes)
	if !ok {
		return nil, nil
	}
	var l MediaTypeList
	return l, Unmarshal(data, &l)
}

// ComponentLabel is ComponentOperationLabel (draft-ietf-mls-extensions-10 §4.1), to be used as the label of
// the Suites functions for a component's own signatures and ciphertexts.
func ComponentLabel(id ComponentID, label string) string {
	var e Encoder
	e.Opaque([]byte("MLS Component"))
	e.Uint16(uint16(id))
	e.Opaque([]byte(label))
	return string(e.Bytes())
}

// GREASE returns one of the reserved values 0x0A0A, 0x1A1A … 0x7A7A, chosen by random: those that RFC 9420 §13.5 and
// draft-ietf-mls-extensions-10 §5.1 have in common. As a component it is valid in leaf node, key package and GroupInfo
// dictionaries; it must never be in a GroupContext.
func GREASE(random io.Reader) (uint16, error) {
	b, err := randomBytes(random, 1)
	if err != nil {
		return 0, err
	}
	high := uint16(b[0] % 8)
	return high<<12 | 0x0a00 | high<<4 | 0x0a, nil
}

// applyAppData applies the AppEphemeral and AppDataUpdate proposals of a commit to the extensions that
// the default proposals left (draft-ietf-mls-extensions-10 §4.7, §4.8).
func applyAppData(cfg *Config, xs Extensions, list []ResolvedProposal) (Extensions, error) {
	dict, err := dictionaryOf(xs)
	if err != nil {
		return nil, err
	}
	start := dict
	updates := make(map[ComponentID][][]byte)
	removes := make(map[ComponentID]bool)
	var order []ComponentID
	for _, p := range list {
		switch p.Proposal.Type {
		case ProposalAppEphemeral:
			a := p.Proposal.AppEphemeral
			if err := cfg.checkEphemeral(a.Component, a.Data); err != nil {
				return nil, fmt.Errorf("%w: AppEphemeral of component %#04x: %w", ErrAppData, a.Component, err)
			}
		case ProposalAppDataUpdate:
			a := p.Proposal.AppDataUpdate
			if a.Operation == OpRemove {
				if removes[a.Component] || updates[a.Component] != nil {
					return nil, fmt.Errorf("%w: component %#04x removed beside another change (mls-extensions-10 §4.7)", ErrAppData, a.Component)
				}
				if _, ok := start.Get(a.Component); !ok {
					return nil, fmt.Errorf("%w: component %#04x has no data to remove (mls-extensions-10 §4.7)", ErrAppData, a.Component)
				}
				removes[a.Component] = true
				order = append(order, a.Component)
				continue
			}
			if removes[a.Component] {
				return nil, fmt.Errorf("%w: component %#04x removed beside another change (mls-extensions-10 §4.7)", ErrAppData, a.Component)
			}
			if updates[a.Component] == nil {
				order = append(order, a.Component)
			}
			updates[a.Component] = append(updates[a.Component], a.Update)
		}
	}
	if len(order) == 0 {
		return xs, nil
	}
	for _, id := range order {
		if removes[id] {
			if err := cfg.removeComponent(id); err != nil {
				return nil, fmt.Errorf("%w: component %#04x: %w", ErrAppData, id, err)
			}
			dict = dict.With(id, nil)
			continue
		}
		old, _ := start.Get(id)
		value, err := cfg.updateComponent(id, old, updates[id])
		if err != nil {
			return nil, fmt.Errorf("%w: component %#04x: %w", ErrAppData, id, err)
		}
		if value == nil {
			value = []byte{}
		}
		dict = dict.With(id, bytes.Clone(value))
	}
	return xs.With(ExtAppDataDictionary, Marshal(dict)), nil
}
