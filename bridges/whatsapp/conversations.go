//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"mimigate/bridges/whatsapp/wire"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

var phoneNumber = regexp.MustCompile(`^\+?[0-9 ()./-]{7,30}$`)

// Open implements adapter.Conversations. A name is a group's address (…@g.us, as List tells it), a phone number (+49 151…) or an address
// of a person. Nobody is asked to let us in: the account must be a member of the group already.
func (a *Adapter) Open(ctx context.Context, name string) (adapter.Conversation, error) {
	s, err := a.online(ctx)
	if err != nil {
		return "", err
	}
	c, err := s.find(ctx, strings.TrimSpace(name))
	if err == nil {
		err = s.describe(ctx, c)
	}
	if err != nil {
		return "", err
	}
	a.opened(c, true)
	return c, nil
}

// find returns the conversation of a name.
func (s *session) find(ctx context.Context, name string) (adapter.Conversation, error) {
	c := adapter.Conversation(name)
	if _, ok := wire.Chat(c, s.addresses()...); ok {
		return c, nil
	}
	if phoneNumber.MatchString(name) {
		digits := strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, name)
		name = types.NewJID(digits, types.DefaultUserServer).String()
	}
	jid, ok := wire.Address(adapter.PersonID(name))
	if !ok {
		return "", fmt.Errorf("%w: not a group's address (1203…@g.us) nor a phone number (+49…)", adapter.ErrNotFound)
	}
	if jid.Server == types.HiddenUserServer {
		return wire.Direct(s.own(), jid), nil
	}
	lid := s.lid(ctx, jid, types.JID{})
	if lid.Server != types.HiddenUserServer {
		if ctx.Err() != nil {
			return "", adapter.NotDelivered(ctx.Err())
		}
		return "", fmt.Errorf("%w: nobody on WhatsApp has this number", adapter.ErrNotFound)
	}
	return wire.Direct(s.own(), lid), nil
}

// describe reports what is known of a conversation and who is there.
func (s *session) describe(ctx context.Context, c adapter.Conversation) error {
	yes, no := true, false
	if !wire.IsGroup(c) {
		peer, ok := wire.Chat(c, s.addresses()...)
		if !ok {
			return fmt.Errorf("%w: a chat of others", adapter.ErrNotFound)
		}
		p := s.person(ctx, peer, types.JID{}, "")
		if !s.report(adapter.Event{Conversation: c, Sender: p, Body: adapter.ConversationState{Direct: &yes, Encrypted: &yes}}) {
			return errLost
		}
		return nil
	}
	jid, _ := wire.Chat(c)
	group, err := s.cli.GetGroupInfo(ctx, jid)
	if err != nil {
		return groupFailure(err)
	}
	s.a.setTimer(c, group.DisappearingTimer)
	name, topic := wire.Clean(group.Name), wire.Clean(group.Topic)
	all := []adapter.Event{{Conversation: c, Body: adapter.ConversationState{Name: &name, Topic: &topic, Direct: &no, Encrypted: &yes}}}
	for _, member := range group.Participants {
		if s.isOwn(member.JID) {
			continue
		}
		alt := member.PhoneNumber
		if member.JID.Server != types.HiddenUserServer {
			alt = member.LID
		}
		p := s.person(ctx, member.JID, alt, "")
		all = append(all, adapter.Event{Conversation: c, Body: adapter.Membership{Change: adapter.Joined, Person: p}})
	}
	if !s.report(all...) {
		return errLost
	}
	return nil
}

// groupFailure says what an error about a group means.
func groupFailure(err error) error {
	switch {
	case errors.Is(err, whatsmeow.ErrGroupNotFound), errors.Is(err, whatsmeow.ErrIQNotFound), errors.Is(err, whatsmeow.ErrIQGone):
		return fmt.Errorf("%w: %w", adapter.ErrNotFound, redacted(err))
	case errors.Is(err, whatsmeow.ErrNotInGroup), errors.Is(err, whatsmeow.ErrIQForbidden):
		return adapter.Gone(redacted(err))
	case errors.Is(err, whatsmeow.ErrIQNotAuthorized), errors.Is(err, whatsmeow.ErrIQNotAcceptable):
		return adapter.Refused(redacted(err))
	case errors.Is(err, whatsmeow.ErrIQRateOverLimit):
		return adapter.RetryAfter(limited, redacted(err))
	}
	return redacted(err)
}

// Leave implements adapter.Conversations. A relay leaves the group; a person stays where they are: only the gateway no longer
// cares.
func (a *Adapter) Leave(ctx context.Context, c adapter.Conversation) error {
	a.opened(c, false)
	jid, ok := wire.Chat(c)
	if a.config.Mode != modeRelay || !ok {
		return nil
	}
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	err = groupFailure(s.cli.LeaveGroup(ctx, jid))
	if errors.Is(err, adapter.ErrNotFound) || errors.Is(err, adapter.ErrGone) {
		return nil
	}
	return err
}

// List implements adapter.Conversations: the groups that the account is in.
func (a *Adapter) List(ctx context.Context) ([]adapter.Listed, error) {
	s, err := a.online(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := s.cli.GetJoinedGroups(ctx)
	if err != nil {
		return nil, groupFailure(err)
	}
	var out []adapter.Listed
	for _, g := range groups {
		if g.IsParent { // a community, which nobody writes in
			continue
		}
		out = append(out, adapter.Listed{Name: g.JID.String(), Conversation: wire.Group(g.JID), Title: wire.Clean(g.Name),
			Members: max(g.ParticipantCount, len(g.Participants)), Joined: true, Encrypted: true})
	}
	slices.SortFunc(out, func(x, y adapter.Listed) int { return strings.Compare(x.Title, y.Title) })
	return out, nil
}

// SetState implements adapter.Conversations: a group's name and description, where the account may change them.
func (a *Adapter) SetState(ctx context.Context, c adapter.Conversation, state adapter.ConversationState) error {
	if !wire.IsGroup(c) || state.Name == nil && state.Topic == nil {
		return nil
	}
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	jid, _ := wire.Chat(c)
	if state.Name != nil {
		err = s.cli.SetGroupName(ctx, jid, wire.Clean(*state.Name))
	}
	if err == nil && state.Topic != nil {
		err = s.cli.SetGroupDescription(ctx, jid, wire.Clean(*state.Topic))
	}
	if errors.Is(err, whatsmeow.ErrIQForbidden) { // only admins may
		return adapter.Refused(redacted(err))
	}
	return groupFailure(err)
}

// SetMember implements adapter.Members: a relay or person that is an admin can remove people from a group. It never adds anybody.
func (a *Adapter) SetMember(ctx context.Context, change adapter.MemberUpdate) error {
	removal := change.Change == adapter.Kicked || change.Change == adapter.Banned
	if len(change.Author.Native) == 0 || !removal || !wire.IsGroup(change.Conversation) {
		return fmt.Errorf("%w: our people have no names of their own on WhatsApp, and nobody is added to groups", adapter.ErrUnsupported)
	}
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	who, ok := wire.Best(change.Author.Native)
	if !ok {
		return adapter.Refused(errors.New("not a person of WhatsApp"))
	}
	jid, _ := wire.Chat(change.Conversation)
	done, err := s.cli.UpdateGroupParticipants(ctx, jid, []types.JID{who}, whatsmeow.ParticipantChangeRemove)
	if errors.Is(err, whatsmeow.ErrIQForbidden) || errors.Is(err, whatsmeow.ErrIQNotAuthorized) {
		return adapter.Refused(errors.New("the account is not an admin of the group"))
	}
	if err != nil {
		return groupFailure(err)
	}
	for _, p := range done {
		if p.Error != 0 && p.Error != 404 { // 404: not there, as wished
			return adapter.Refused(fmt.Errorf("WhatsApp refuses to remove them: %d", p.Error))
		}
	}
	return nil
}

// joinedGroup reports a group that the account was added to, or has joined on the phone.
func (s *session) joinedGroup(g *events.JoinedGroup) bool {
	no, yes, name, topic := false, true, wire.Clean(g.Name), wire.Clean(g.Topic)
	c := wire.Group(g.JID)
	s.a.setTimer(c, g.DisappearingTimer)
	return s.report(adapter.Event{Conversation: c, Body: adapter.ConversationState{Name: &name, Topic: &topic, Direct: &no, Encrypted: &yes}})
}

// groupChange reports what has changed in a group.
func (s *session) groupChange(g *events.GroupInfo) bool {
	ev := adapter.Event{Conversation: wire.Group(g.JID), Time: g.Timestamp}
	if g.Sender != nil {
		actor := g.Sender.ToNonAD()
		alt := types.JID{}
		if g.SenderPN != nil {
			alt = g.SenderPN.ToNonAD()
		}
		name := g.Notify
		if name == "invite" { // what some of these notifications have in its place
			name = ""
		}
		ev.Sender, ev.Own = s.person(s.ctx, actor, alt, name), s.isOwn(actor)
	}
	var all []adapter.Event
	add := func(body adapter.Body) {
		each := ev
		each.Body = body
		all = append(all, each)
	}
	if g.Name != nil || g.Topic != nil {
		state := adapter.ConversationState{}
		if g.Name != nil {
			name := wire.Clean(g.Name.Name)
			state.Name = &name
		}
		if g.Topic != nil {
			topic := wire.Clean(g.Topic.Topic)
			state.Topic = &topic
		}
		add(state)
	}
	for _, jid := range g.Join {
		if !s.isOwn(jid) {
			add(adapter.Membership{Change: adapter.Joined, Person: s.member(jid, ev.Sender)})
		}
	}
	for _, jid := range g.Leave {
		all = append(all, s.left(ev, jid)...)
	}
	if g.Delete != nil {
		add(gone("the group was deleted"))
	}
	if g.Ephemeral != nil {
		all = append(all, s.timerChange(ev, g.Ephemeral.DisappearingTimer)...)
	}
	return s.report(all...)
}

// member is who a list of a group's changes names; the one who made the change has told their name.
func (s *session) member(jid types.JID, actor adapter.Person) adapter.Person {
	p := s.person(s.ctx, jid, types.JID{}, "")
	if slices.ContainsFunc(actor.IDs, func(id adapter.PersonID) bool { return slices.Contains(p.IDs, id) }) {
		return actor
	}
	return p
}

func gone(why string) adapter.ConversationState { return adapter.ConversationState{Gone: &why} }

// left reports that somebody is no longer in the group. If that is the account itself, the conversation is gone.
func (s *session) left(ev adapter.Event, jid types.JID) []adapter.Event {
	p := s.member(jid, ev.Sender)
	change := adapter.Kicked
	if slices.ContainsFunc(ev.Sender.IDs, func(id adapter.PersonID) bool { return slices.Contains(p.IDs, id) }) {
		change = adapter.Left
	}
	if s.isOwn(jid) {
		ev.Body = gone("the account was removed from the group")
		if change == adapter.Left {
			ev.Body = gone("the account has left the group")
		}
		return []adapter.Event{ev}
	}
	ev.Body = adapter.Membership{Change: change, Person: p}
	return []adapter.Event{ev}
}

// timerChange tells everybody that messages now disappear, or no longer.
func (s *session) timerChange(ev adapter.Event, seconds uint32) []adapter.Event {
	s.a.setTimer(ev.Conversation, seconds)
	if len(ev.Sender.IDs) == 0 {
		return nil
	}
	ev.ID = adapter.NativeID(fmt.Sprintf("timer-%d-%d", ev.Time.Unix(), seconds))
	ev.Body = adapter.Message{Content: content.Text(wire.TimerLine(time.Duration(seconds) * time.Second))}
	return []adapter.Event{ev}
}
