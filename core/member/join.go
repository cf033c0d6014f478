package member

import (
	"context"
	"fmt"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// join takes part in a room that somebody elsewhere has added our people to, with all of them at once. A Welcome that is for none of
// us, or does not hold, is left out.
func (m *Members) join(ctx context.Context, s *shared, f *mimi.FanoutMessage) (*shared, error) {
	var refs [][]byte
	for _, secret := range f.Message.Welcome.Secrets {
		refs = append(refs, secret.NewMember)
	}
	own, err := m.secretsOf(ctx, refs)
	if err != nil {
		return s, err
	}
	g, err := mls.JoinWelcome(m.MLS, f.Message.Welcome, mls.JoinOptions{Own: own, RatchetTree: f.Tree.Tree})
	var mem memory
	if err == nil {
		mem, err = m.remember(s.id, g)
	}
	if err == nil && mem.state.Metadata().URI != s.id.String() {
		err = fmt.Errorf("%w: of another room", mls.ErrWelcome)
	}
	if err != nil {
		m.Log.Warn("a Welcome cannot be used", "room", s.id, "error", err)
		return s, nil
	}
	joined := &shared{id: s.id, opening: true, group: g, memory: mem}
	if err := m.Store.ApplyDelta(ctx, stateName(s.id), g.Snapshot()); err != nil {
		return s, err
	}
	if err := m.usedUp(ctx, own); err != nil {
		return s, err
	}
	if err := m.adopt(ctx, joined); err != nil {
		return s, err
	}
	return joined, m.introduce(ctx, joined, f.Timestamp)
}

// requiredCapabilities are those of our rooms: the dictionary, its updates, and leaving by SelfRemove.
func requiredCapabilities() mls.RequiredCapabilities {
	return mls.RequiredCapabilities{Extensions: []mls.ExtensionType{mls.ExtAppDataDictionary},
		Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalSelfRemove}}
}

// CreateRoom makes a room of our domain, with our gateway participant as its owner and first member (design §7), hosted by our own
// hub. It fails with ErrUser for a room of another domain, and where there is such a room already.
func (m *Members) CreateRoom(ctx context.Context, id uri.Room, name, subject string) error {
	if id.Provider() != m.Provider {
		return ErrUser
	}
	return m.Store.Do(ctx, func(ctx context.Context) error {
		hub, err := m.Founder.Sender(ctx, m.Suite)
		if err != nil {
			return err
		}
		creator, err := m.newKeyPackage(m.gateway, m.Suite, 0)
		if err != nil {
			return err
		}
		group, err := m.Provider.Group(id.Segments()...)
		if err != nil {
			return err
		}
		g, err := mls.NewGroup(m.MLS, []byte(group.String()), m.roomExtensions(id, name, subject, &hub), creator)
		if err != nil {
			return fmt.Errorf("member: %w", err)
		}
		info, err := g.GroupInfo(0, false)
		if err != nil {
			return fmt.Errorf("member: %w", err)
		}
		if err := m.Founder.Create(ctx, id, info, g.RatchetTree()); err != nil {
			return err
		}
		s := &shared{id: id, group: g}
		if s.memory, err = m.remember(id, g); err != nil {
			return err
		}
		if err := m.Store.ApplyDelta(ctx, stateName(id), g.Snapshot()); err != nil {
			return err
		}
		return m.adopt(ctx, s)
	})
}

// roomExtensions is the GroupContext of a new room: what mimi.md §1.4 recommends, with our base policy.
func (m *Members) roomExtensions(id uri.Room, name, subject string, hub *mls.ExternalSender) mls.Extensions {
	rules := policy.Default()
	rules.Role(policy.AdminRole).Min = 0 // the gateway participant owns the room; there may be no other
	for i := range rules.Bots {
		rules.Bots[i].Homepage = m.Provider.String()
	}
	c := room.Contents{
		Rules:    *rules,
		Metadata: room.Metadata{URI: id.String(), Name: name, Subject: subject},
		Participants: []room.Participant{
			{User: m.gateway.String(), Role: policy.OwnerRole},
			{User: m.Provider.String(), Role: policy.EnforcerRole},
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
	required := requiredCapabilities()
	return mls.Extensions{
		{Type: mls.ExtRequiredCapabilities, Data: mls.Marshal(&required)},
		{Type: mls.ExtExternalSenders, Data: mls.Marshal(mls.ExternalSenders{*hub})},
		c.Dictionary().Extension(),
	}
}
