// Package consents joins what our people allow others with the endpoints by which other providers ask: who may bring whom into rooms, and who
// may be found (mimi-protocol-06 §5.2, §5.7, §5.8).
package consents

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"mimigate/core/follower/people"
	"mimigate/core/identity"
	"mimigate/core/member/keys"
	"mimigate/core/mimi"
	"mimigate/core/uri"
)

// Store is what a Desk keeps its state in.
type Store interface {
	people.Store
	identity.PermissionStore
	identity.Listing
}

// May is what the people of another provider may do; both are "allow", "deny", or for Invite "ask".
type May struct{ Invite, Search string }

// Options are what a Desk needs. Peers says what a provider's people may do; ok is false where it is no peer.
type Options struct {
	Provider uri.Provider
	Store    Store
	Persons  *identity.Persons
	Peers    people.Peers
	May      func(of uri.Provider) (may May, ok bool)
	// Granted is called once people of a provider have let ours bring them into rooms.
	Granted func(ctx context.Context, of uri.Provider)
	// Asked and Answered tell people in their chats: of a question to one of ours, and of what somebody elsewhere has said. They are called
	// within the unit that records it; nil: nobody is told.
	Asked    func(ctx context.Context, s identity.Scope) error
	Answered func(ctx context.Context, s identity.Scope, granted bool) error
	Log      *slog.Logger
}

// Desk answers for our people, and keeps what they are asked. It may be used from several goroutines.
type Desk struct {
	Between *people.Consents    // what is said between providers: mimi.Consent
	Search  *people.Identifiers // mimi.Identifiers

	options     Options
	permissions *identity.Permissions
	granted     *mimi.Queues[uri.Provider]
}

var _ keys.Consent = (*Desk)(nil)

// New returns a desk. It sends nothing before Start.
func New(o Options) *Desk {
	d := &Desk{options: o, permissions: &identity.Permissions{Store: o.Store, Now: time.Now}}
	d.Between = people.NewConsents(people.ConsentConfig{Provider: o.Provider, Store: o.Store, Peers: o.Peers, Permissions: permissions{d},
		Audience: audience{d}, Log: o.Log})
	d.Search = &people.Identifiers{Provider: o.Provider, Directory: directory{&identity.Directory{Persons: o.Persons, Listing: o.Store}},
		May: func(p uri.Provider) bool { may, ok := o.May(p); return ok && may.Search == "allow" }}
	d.granted = mimi.NewQueues(func(ctx context.Context, of uri.Provider) (bool, error) {
		o.Granted(ctx, of)
		return false, nil
	})
	return d
}

// Start begins to send what waits.
func (d *Desk) Start(ctx context.Context) error { return d.Between.Start(ctx) }

// Close ends what the desk does by itself, and waits for it.
func (d *Desk) Close() {
	d.Between.Close()
	d.granted.Close()
}

// Invite asks for the consent of somebody elsewhere to be brought into a room of ours by the gateway. Where they have answered, or were asked
// before, nothing happens.
func (d *Desk) Invite(ctx context.Context, target uri.User, room uri.Room) error {
	gateway, err := d.options.Provider.User(gatewayName)
	if err != nil {
		return err
	}
	scope := mimi.ConsentScope{Requester: gateway, Target: target, Room: room}
	return d.options.Store.Do(ctx, func(ctx context.Context) error {
		if verdict, err := d.permissions.Judge(ctx, identity.Scope(scope)); err != nil || verdict == identity.Agreed || verdict == identity.Refused {
			return err
		}
		if fresh, err := d.permissions.Ask(ctx, identity.Scope(scope)); err != nil || !fresh {
			return err
		}
		return d.Between.Request(ctx, scope)
	})
}

// gatewayName is the user by which the gateway itself takes part in rooms.
const gatewayName = "gateway"

// known returns the person with an address of ours. The gateway's own participant is known too, and is nobody.
func (d *Desk) known(ctx context.Context, user uri.User) (identity.Person, bool, error) {
	p, ok, err := d.options.Persons.ByUser(ctx, user)
	if gateway, err := d.options.Provider.User(gatewayName); err == nil && user == gateway {
		return p, true, nil
	}
	return p, ok, err
}

// Consents implements keys.Consent: nobody who has opted out is brought in, or whose answer was no; others by those whom they let, or
// whose provider need not ask. Who should have been asked is asked now.
func (d *Desk) Consents(ctx context.Context, target, requester uri.User, room uri.Room) (mimi.UserCode, error) {
	p, ok, err := d.known(ctx, target)
	if err != nil || p.Consent == identity.OptedOut {
		return mimi.UserNoConsent, err
	}
	if requester.Provider() == d.options.Provider {
		return mimi.UserSuccess, nil
	}
	may, peer := d.options.May(requester.Provider())
	if !ok || !peer || may.Invite == "deny" {
		return mimi.UserNoConsent, nil
	}
	scope := identity.Scope{Requester: requester, Target: target, Room: room}
	verdict, err := d.permissions.Judge(ctx, scope)
	switch {
	case err != nil:
		return mimi.UserNoConsent, err
	case verdict == identity.Agreed, verdict != identity.Refused && may.Invite == "allow":
		return mimi.UserSuccess, nil
	case verdict == identity.Refused:
		return mimi.UserNoConsent, nil
	}
	if fresh, err := d.permissions.Ask(ctx, scope); err != nil || fresh {
		return mimi.UserNoConsent, errors.Join(err, audience{d}.Asked(ctx, mimi.ConsentScope(scope)))
	}
	if verdict == identity.AgreedElsewhere {
		return mimi.UserNoConsentForThisOne, nil
	}
	return mimi.UserNoConsent, nil
}

// Question is what one of our people was asked and has not answered.
type Question struct {
	Requester uri.User
	Target    uri.User
	Name      string // of the target; may be empty
	Room      string // empty: any
	At        time.Time
}

// Waiting returns the questions of all our people, the oldest first.
func (d *Desk) Waiting(ctx context.Context) ([]Question, error) {
	all, err := d.permissions.Waiting(ctx, uri.User{})
	if err != nil {
		return nil, err
	}
	var list []Question
	for _, p := range all {
		if p.Target.Provider() != d.options.Provider {
			continue // one that we have asked
		}
		who, _, err := d.options.Persons.ByUser(ctx, p.Target)
		if err != nil {
			return nil, err
		}
		q := Question{Requester: p.Requester, Target: p.Target, Name: who.Name, At: p.At}
		if p.Room != (uri.Room{}) {
			q.Room = p.Room.String()
		}
		list = append(list, q)
	}
	return list, nil
}

// permissions are identity's, for package people.
type permissions struct{ desk *Desk }

// Ask implements people.Permissions. Of a peer that may invite with "allow" nobody is asked, unless they have said no; it is told that they
// agree. Of one that may not, nobody hears.
func (p permissions) Ask(ctx context.Context, s mimi.ConsentScope) (bool, error) {
	may, peer := p.desk.options.May(s.Requester.Provider())
	if !peer || may.Invite == "deny" {
		return false, nil
	}
	if may.Invite == "ask" {
		return p.desk.permissions.Ask(ctx, identity.Scope(s))
	}
	verdict, err := p.desk.permissions.Judge(ctx, identity.Scope(s))
	if err != nil || verdict == identity.Refused {
		return false, err
	}
	return false, p.desk.Between.Agree(ctx, s)
}

// Cancel implements people.Permissions.
func (p permissions) Cancel(ctx context.Context, s mimi.ConsentScope) (bool, error) {
	return p.desk.permissions.Cancel(ctx, identity.Scope(s))
}

// Answer implements people.Permissions.
func (p permissions) Answer(ctx context.Context, s mimi.ConsentScope, granted bool) error {
	return p.desk.permissions.Answer(ctx, identity.Scope(s), granted)
}

// audience hears what concerns our people.
type audience struct{ desk *Desk }

// Known implements people.Audience.
func (a audience) Known(ctx context.Context, user uri.User) (bool, error) {
	_, ok, err := a.desk.known(ctx, user)
	return ok, err
}

// Asked implements people.Audience: the question waits until it is answered, see Waiting.
func (a audience) Asked(ctx context.Context, s mimi.ConsentScope) error {
	a.desk.options.Log.Info("somebody elsewhere asks to bring one of our people into rooms: mimigate consent list", "from", s.Requester.Domain())
	if tell := a.desk.options.Asked; tell != nil {
		return tell(ctx, identity.Scope(s))
	}
	return nil
}

// Answered implements people.Audience: whom we wanted in a room is brought there now.
func (a audience) Answered(ctx context.Context, s mimi.ConsentScope, granted bool) error {
	if granted {
		a.desk.options.Store.OnCommit(ctx, func() { a.desk.granted.Wake(s.Target.Provider()) })
	}
	a.desk.options.Log.Info("somebody elsewhere has answered whether they may be brought into rooms", "from", s.Target.Domain(), "granted", granted)
	if tell := a.desk.options.Answered; tell != nil {
		return tell(ctx, identity.Scope(s), granted)
	}
	return nil
}

// directory is identity's, for package people.
type directory struct{ *identity.Directory }

func (d directory) profile(p identity.Person) people.Profile {
	return people.Profile{User: p.User, Handle: d.Handle(p.User), Name: p.Name}
}

// ByHandle implements people.Directory.
func (d directory) ByHandle(ctx context.Context, handle string) (people.Profile, bool, error) {
	p, ok, err := d.Directory.ByHandle(ctx, handle)
	return d.profile(p), ok, err
}

// ByName implements people.Directory.
func (d directory) ByName(ctx context.Context, part string, limit int) (list []people.Profile, err error) {
	found, err := d.Directory.ByName(ctx, part, limit)
	for _, p := range found {
		list = append(list, d.profile(p))
	}
	return list, err
}
