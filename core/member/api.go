// Package member holds the MLS clients of our people: one shared mls.Group for each room, in which every bridged participant has a
// leaf (design §6). It protects what they say, opens what others say, and makes the commits that add, remove and
// change them.
//
// # For whom it works
//
// The router calls these methods of [Members], through narrow interfaces of its own; all types are of std, uri or content:
//
//	CreateRoom(ctx, room uri.Room, name, subject string) error
//	EnsureParticipant(ctx, room uri.Room, user uri.User, role uint32) error
//	RemoveParticipant(ctx, room uri.Room, user uri.User) error
//	SetRole(ctx, room uri.Room, user uri.User, role uint32) error
//	Describe(ctx, room uri.Room, name, subject string) error
//	Description(ctx, room uri.Room) (name, subject string, err error)
//	Participants(ctx, room uri.Room) (map[uri.User]uint32, error)
//	Send(ctx, room uri.Room, from uri.User, m *content.Message) (content.MessageID, error)
//
// and implements [Sink]. Given a context that carries a unit of work, each method is a part of that unit (T1): what it wrote is
// there if the unit is committed, and its error leaves the unit usable. Roles are those of package policy: 0 not in the
// room, 1 banned, 2 member, 3 admin, 4 owner, 6 a provider's gateway.
//
// Nothing is delivered by these calls: everything comes back through the room's inbox, in the hub's order, to the Sink, our own
// messages and our own changes of participants too. Where hub and follower are this very process that may happen
// before the call returns, within the same unit (design §5 rule vii).
package member

import (
	"context"
	"time"

	"mimigate/core/content"
	"mimigate/core/uri"
)

// Sink hears what the inbox of each room brings, once and in the hub's order. Each call is made within the unit of work (T4) that
// also advances the group and takes the message off the inbox; the context carries it. An error undoes all of that,
// and the same call is made again later: return one only for what time can cure, such as a failing store.
type Sink interface {
	// Message reports a message: of somebody elsewhere, or one of ours that the hub has accepted, known by the id that Send
	// returned. from is whose leaf sent it, accepted the hub's time. A message that its sender's role does not permit, such as
	// an edit of somebody else's words, is not reported. m is not to be changed.
	Message(ctx context.Context, room uri.Room, from uri.User, id content.MessageID, accepted time.Time, m *content.Message) error
	// Participant reports that by changed user's role from before to after (0: not in the room); by is zero for the hub itself.
	// A room that somebody elsewhere brought us into is first heard of by the Participant calls for all who are in it.
	Participant(ctx context.Context, room uri.Room, user, by uri.User, before, after uint32, at time.Time) error
	// Described reports that by changed the room's name or subject to these.
	Described(ctx context.Context, room uri.Room, by uri.User, name, subject string, at time.Time) error
	// Refused reports that a message given to Send will never appear: the hub or the room's policy does not take it, or its sender
	// could not be brought into the room. reason is a sentence for people.
	Refused(ctx context.Context, room uri.Room, from uri.User, id content.MessageID, reason string) error
	// Unchanged reports that a change asked for by EnsureParticipant, RemoveParticipant or SetRole (user), or by Describe
	// (user is zero), was refused for good. reason is a sentence for people.
	Unchanged(ctx context.Context, room uri.Room, user uri.User, reason string) error
	// Gap reports that some of what was said in the room before this time could not be read and never will be: its group was lost,
	// and has been joined anew. What changed in it meanwhile was told just before, as changed by nobody (by is zero).
	Gap(ctx context.Context, room uri.Room, at time.Time) error
}
