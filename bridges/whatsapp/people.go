//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/wire"
	"mimigate/core/adapter"
)

// self is the account as its chats know it. The library changes its own copy when it likes.
type self struct {
	mu       sync.Mutex
	lid, num types.JID
	name     string
}

// learn takes over what the library knows.
func (s *session) learn() {
	s.self.mu.Lock()
	defer s.self.mu.Unlock()
	s.self.lid, s.self.num = s.cli.Store.GetLID().ToNonAD(), s.cli.Store.GetJID().ToNonAD()
}

// own is the account's address: its LID, which new chats use.
func (s *session) own() types.JID {
	for _, jid := range s.addresses() {
		if !jid.IsEmpty() {
			return jid
		}
	}
	return types.JID{}
}

// addresses are both of the account's.
func (s *session) addresses() []types.JID {
	s.self.mu.Lock()
	defer s.self.mu.Unlock()
	return []types.JID{s.self.lid, s.self.num}
}

// called notes the name that the account's owner has given themself.
func (s *session) called(name string) {
	s.self.mu.Lock()
	defer s.self.mu.Unlock()
	s.self.name = wire.Clean(name)
}

func (s *session) ownName() string {
	s.self.mu.Lock()
	defer s.self.mu.Unlock()
	return s.self.name
}

func (s *session) isOwn(jid types.JID) bool {
	return slices.ContainsFunc(s.addresses(), func(own types.JID) bool { return own.User == jid.User && own.User != "" })
}

// person is who has an address; alt is their other one, if the event told. Phone number and LID are one person, also when one is
// learned late: then the ids that were reported before are among the new ones.
func (s *session) person(ctx context.Context, jid, alt types.JID, name string) adapter.Person {
	p := adapter.Person{Name: wire.Clean(name), Verified: true}
	if alt.IsEmpty() {
		alt = s.other(ctx, jid)
	}
	for _, server := range []string{types.HiddenUserServer, types.DefaultUserServer} { // the LID is the more stable one
		for _, each := range []types.JID{jid, alt} {
			if id := wire.PersonID(each); each.Server == server && each.User != "" && !slices.Contains(p.IDs, id) {
				p.IDs = append(p.IDs, id)
			}
		}
	}
	if p.Name == "" || p.Name == "-" { // what clients say that know no name
		p.Name = s.name(ctx, jid, alt)
	}
	p.Bot = s.a.config.Mode == modeRelay && s.isOwn(jid)
	return p
}

// other returns the other address of a person, if the device store knows it.
func (s *session) other(ctx context.Context, jid types.JID) types.JID {
	var other types.JID
	var err error
	switch jid.Server {
	case types.HiddenUserServer:
		other, err = s.cli.Store.LIDs.GetPNForLID(ctx, jid.ToNonAD())
	case types.DefaultUserServer:
		other, err = s.cli.Store.LIDs.GetLIDForPN(ctx, jid.ToNonAD())
	}
	if err != nil {
		s.a.account.Log.Warn("addresses could not be looked up", "error", redacted(err))
	}
	return other
}

// lid returns a person's LID where it is known or WhatsApp tells it, else the address itself.
func (s *session) lid(ctx context.Context, jid, alt types.JID) types.JID {
	jid, alt = jid.ToNonAD(), alt.ToNonAD()
	if jid.Server == types.HiddenUserServer {
		return jid
	}
	if alt.Server == types.HiddenUserServer {
		return alt
	}
	if other := s.other(ctx, jid); !other.IsEmpty() {
		return other
	}
	if info, err := s.cli.GetUserInfo(ctx, []types.JID{jid}); err == nil && !info[jid].LID.IsEmpty() {
		return info[jid].LID.ToNonAD()
	}
	return jid
}

// name returns what a person calls themself, as far as they have told: never what is in the owner's address book.
func (s *session) name(ctx context.Context, addresses ...types.JID) string {
	for _, jid := range addresses {
		if jid.IsEmpty() {
			continue
		}
		if s.isOwn(jid) {
			return s.ownName()
		}
		contact, err := s.cli.Store.Contacts.GetContact(ctx, jid.ToNonAD())
		if err != nil {
			s.a.account.Log.Warn("a name could not be looked up", "error", redacted(err))
			continue
		}
		if name := wire.Clean(contact.PushName); name != "" {
			return name
		}
		if name := wire.Clean(contact.BusinessName); name != "" {
			return name
		}
	}
	return ""
}

// renamed reports the name that a person has given themself.
func (s *session) renamed(jid, alt types.JID, name string) bool {
	p := s.person(s.ctx, jid, alt, name)
	if len(p.IDs) == 0 || p.Name == "" || s.isOwn(jid) {
		return true
	}
	return s.report(adapter.Event{Sender: p, Body: adapter.Profile{Person: p}})
}

// address returns the address of a person as chats use it.
func (s *session) address(ctx context.Context) func(adapter.PersonID) (types.JID, bool) {
	return func(id adapter.PersonID) (types.JID, bool) {
		jid, ok := wire.Address(id)
		if ok && jid.Server == types.DefaultUserServer {
			if other := s.other(ctx, jid); !other.IsEmpty() {
				return other, true
			}
		}
		return jid, ok
	}
}

// recent remembers the last ids that were put in. The zero value is ready.
type recent struct {
	known map[string]bool
	ring  []string
	next  int
}

// recentSize is how many ids are remembered.
const recentSize = 4000

func (r *recent) has(id string) bool { return r.known[id] }

func (r *recent) put(id string) {
	if r.known == nil {
		r.known, r.ring = map[string]bool{}, make([]string, recentSize)
	}
	if r.known[id] {
		return
	}
	delete(r.known, r.ring[r.next])
	r.ring[r.next], r.known[id] = id, true
	r.next = (r.next + 1) % recentSize
}

// polls remembers the options of polls: a vote names them by their hashes.
type polls struct {
	state adapter.State
	mu    sync.Mutex
}

// poll is a poll as it is kept.
type poll struct {
	ID      string   `json:"id"`
	Options []string `json:"options"`
}

const (
	pollsKey  = "polls"
	pollsKept = 200
)

func (p *polls) load(ctx context.Context) ([]poll, error) {
	raw, err := p.state.Get(ctx, pollsKey)
	if err != nil || raw == nil {
		return nil, err
	}
	var all []poll
	return all, json.Unmarshal(raw, &all)
}

func (p *polls) put(ctx context.Context, id string, options []string) error {
	if len(options) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all, err := p.load(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(each poll) bool { return each.ID == id }) {
		return nil
	}
	all = append(all, poll{id, options})
	raw, err := json.Marshal(all[max(0, len(all)-pollsKept):])
	if err != nil {
		return err
	}
	return p.state.Put(ctx, pollsKey, raw)
}

func (p *polls) options(ctx context.Context, id string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, err := p.load(ctx)
	if err != nil {
		return nil
	}
	for _, each := range all {
		if each.ID == id {
			return each.Options
		}
	}
	return nil
}
