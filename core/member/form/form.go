// Package form is what our clients and rooms look like to others: leaves, groups and application messages, as MIMI wants them.
package form

import (
	"fmt"

	"mimigate/core/content"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// components are those we understand, in room state, authenticated data or media types (mls-extensions-10 §4.7).
func components() mls.ComponentsList {
	list := mls.ComponentsList{mls.ComponentAppComponents, mls.ComponentSafeAAD, mls.ComponentContentMediaTypes, mls.ComponentLastResortKeyPackage}
	for c := policy.FrankAAD; c <= policy.MessageExpirationPolicy; c++ {
		list = append(list, mls.ComponentID(c))
	}
	return list
}

// mediaTypes are those we can read (mimi-content-09 §7.1).
func mediaTypes() mls.MediaTypeList {
	return mls.MediaTypeList{{Type: content.TypeMessage}, {Type: "text/plain", Parameters: []mls.Parameter{{Name: "charset", Value: "utf-8"}}},
		{Type: "text/markdown", Parameters: []mls.Parameter{{Name: "variant", Value: "GFM-MIMI"}}}, {Type: content.TypeStatus}}
}

// Disclosure is the component (of the private range) by which a leaf says that it is a bridge's (design §8).
const Disclosure mls.ComponentID = 0x8b01

// LeafExtensions says in each of our leaves what it supports (mls-extensions-10 §4.7, §4.10), and what it discloses of itself.
func LeafExtensions(disclosure []byte) mls.Extensions {
	dict := mls.AppDataDictionary{
		{ID: mls.ComponentAppComponents, Data: mls.Marshal(components())},
		{ID: mls.ComponentSafeAAD, Data: mls.Marshal(mls.ComponentsList{mls.ComponentID(policy.FrankAAD)})},
		{ID: mls.ComponentContentMediaTypes, Data: mls.Marshal(mediaTypes())},
	}
	if len(disclosure) > 0 {
		dict = dict.With(Disclosure, disclosure)
	}
	return mls.Extensions{dict.Extension()}
}

// RequiredCapabilities are those of our rooms: the dictionary, its updates, and leaving by SelfRemove.
func RequiredCapabilities() mls.RequiredCapabilities {
	return mls.RequiredCapabilities{Extensions: []mls.ExtensionType{mls.ExtAppDataDictionary},
		Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalSelfRemove}}
}

// RoomExtensions is the GroupContext of a new room: what mimi.md §1.4 recommends, with our base policy.
func RoomExtensions(gateway uri.User, id uri.Room, name, subject string, hub *mls.ExternalSender) mls.Extensions {
	rules := policy.Default()
	rules.Role(policy.AdminRole).Min = 0 // the gateway participant owns the room; there may be no other
	for i := range rules.Bots {
		rules.Bots[i].Homepage = gateway.Provider().String()
	}
	c := room.Contents{
		Rules:    *rules,
		Metadata: room.Metadata{URI: id.String(), Name: name, Subject: subject},
		Participants: []room.Participant{
			{User: gateway.String(), Role: policy.OwnerRole},
			{User: gateway.Provider().String(), Role: policy.EnforcerRole},
		},
		Other: mls.AppDataDictionary{
			{ID: mls.ComponentAppComponents, Data: mls.Marshal(mls.ComponentsList{mls.ComponentAppComponents, mls.ComponentSafeAAD,
				mls.ComponentContentMediaTypes, mls.ComponentID(policy.ParticipantList), mls.ComponentID(policy.RoomMetadata),
				mls.ComponentID(policy.RolesList), mls.ComponentID(policy.PreAuthList), mls.ComponentID(policy.BaseRoomPolicy)})},
			{ID: mls.ComponentSafeAAD, Data: mls.Marshal(mls.ComponentsList{mls.ComponentID(policy.FrankAAD)})},
			{ID: mls.ComponentContentMediaTypes, Data: mls.Marshal(mls.MediaTypeList{{Type: "application/mimi-content"}})},
			{ID: mls.ComponentID(policy.FrankingAgent), Data: mls.Marshal(&mimi.FrankingAgent{SignatureKey: hub.SignatureKey, Credential: hub.Credential})},
		},
	}
	required := RequiredCapabilities()
	return mls.Extensions{
		{Type: mls.ExtRequiredCapabilities, Data: mls.Marshal(&required)},
		{Type: mls.ExtExternalSenders, Data: mls.Marshal(mls.ExternalSenders{*hub})},
		c.Dictionary().Extension(),
	}
}

// HandshakeFraming is the authenticated data of a handshake: empty in the form that the group wants.
func HandshakeFraming(c *mls.GroupContext) mls.Framing {
	dict, err := c.Dictionary()
	if _, safe := dict.Get(mls.ComponentSafeAAD); err == nil && safe {
		return mls.Framing{SafeAAD: mls.SafeAAD{}}
	}
	return mls.Framing{}
}

// Frame makes application data of an encoded message: an ApplicationFraming where the group has content_media_types
// (mls-extensions-10 §6.3).
func Frame(c *mls.GroupContext, encoded []byte) ([]byte, error) {
	types, err := c.ContentMediaTypes()
	if err != nil || types == nil {
		return encoded, err
	}
	return content.Framed{Type: content.TypeMessage, Content: encoded}.Marshal()
}

// Framing is what goes with the application data: in a group with safe_aad a SafeAAD, and in it a franking tag where the room's
// hub franks (mimi-protocol-06 §5.4.1); and padding as the room's policy wants it.
func Framing(c *mls.GroupContext, rules *policy.Rules, encoded, data []byte) (mls.Framing, error) {
	var f mls.Framing
	if op := rules.Operational; op != nil && op.Messages.PadToSize > 0 {
		size := int(op.Messages.PadToSize)
		f.Padding = (size - len(data)%size) % size
	}
	dict, err := c.Dictionary()
	if err != nil {
		return f, err
	}
	if _, safe := dict.Get(mls.ComponentSafeAAD); !safe {
		return f, nil
	}
	f.SafeAAD = mls.SafeAAD{}
	if _, franks := dict.Get(mls.ComponentID(policy.FrankingAgent)); franks {
		tag := mimi.FrankingTag(saltOf(encoded), data)
		f.SafeAAD = mls.SafeAAD{{Component: mls.ComponentID(policy.FrankAAD), Data: tag[:]}}
	}
	return f, nil
}

// saltOf returns the salt of an encoded message: the octet string after the array's head (mimi-content-09 §3).
func saltOf(encoded []byte) []byte { return encoded[2 : 2+len(content.Salt{})] }

// CheckFrank verifies the hub's frank of a message, where there is one (mimi-protocol-06 §5.4.1): a wrong one is worse than none, as
// somebody between has altered it.
func CheckFrank(t mls.Suites, c *mls.GroupContext, in *mimi.FrankingContext, encoded, data []byte, f *mimi.FanoutMessage) error {
	dict, err := c.Dictionary()
	if err != nil || f.Frank == nil {
		return err
	}
	agentData, ok := dict.Get(mls.ComponentID(policy.FrankingAgent))
	if !ok {
		return nil
	}
	var agent mimi.FrankingAgent
	if err := mls.Unmarshal(agentData, &agent); err != nil {
		return err
	}
	items, err := mls.ParseSafeAAD(f.Message.Private.AuthenticatedData, false)
	if err != nil {
		return err
	}
	tag := mimi.FrankingTag(saltOf(encoded), data)
	for _, item := range items {
		if item.Component == mls.ComponentID(policy.FrankAAD) && string(item.Data) != string(tag[:]) {
			return fmt.Errorf("%w: the franking tag is of another message", mimi.ErrFrank)
		}
	}
	return f.Frank.Verify(t, c.CipherSuite, agent.SignatureKey, in)
}
