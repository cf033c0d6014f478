package adaptertest

import (
	"fmt"
	"slices"
	"strings"

	"mimigate/core/adapter"
)

// twoAccounts: two accounts of one gateway in one conversation see it as one, with the same ids.
func twoAccounts(s *stage) {
	a := s.begin()
	b := s.start(1, ourDomain, &State{})
	if a.conv != b.conv {
		s.Fatalf("one conversation is %q to one account and %q to the other", a.conv, b.conv)
	}
	ann := s.human("Ann")
	ann.say("hello both")
	first, second := a.hears("Ann's text", text("hello both")), b.hears("Ann's text", text("hello both"))
	if first.ID != second.ID || !samePerson(first.Sender, second.Sender) {
		s.Errorf("one message is %q by %q and %q by %q", first.ID, first.Sender.IDs, second.ID, second.Sender.IDs)
	}
	out := a.say(alice, "from the first")
	sent := a.deliver(out)
	ann.sees("the text", a.says(alice, "from the first"))
	ev := b.hears("what the other account sent", func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && strings.HasSuffix(plain(textOf(m.Content.Body)), "from the first")
	})
	if ev.ID != sent.Parts[0].ID {
		s.Errorf("sent as %q, the other account reports %q", sent.Parts[0].ID, ev.ID)
	}
	if s.has(Markers) && ev.Marker != out.Marker {
		s.Errorf("sent with marker %q, the other account reports %q", out.Marker, ev.Marker)
	}
	ann.once(a, "the text", a.says(alice, "from the first"))
}

// anotherGateway: what another gateway writes here is no echo of ours, and says where it comes from.
func anotherGateway(s *stage) {
	a := s.begin()
	b := s.start(1, otherDomain, &State{})
	ann := s.human("Ann")
	out := b.say(bob, "from far away")
	b.deliver(out)
	ev := a.hears("the other gateway's message", func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && strings.HasSuffix(plain(textOf(m.Content.Body)), "from far away")
	})
	if ev.Own || ev.Marker != out.Marker {
		s.Errorf("reported as own=%v with marker %q, it was sent with %q", ev.Own, ev.Marker, out.Marker)
	}
	if !ev.Sender.User.IsZero() {
		s.Errorf("the other gateway's name is taken for one of ours: %q", ev.Sender.User)
	}
	ann.once(a, "the text", func(m Seen) bool { return strings.HasSuffix(m.Text, "from far away") })
}

func renameIn(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	ann.say("I am Ann")
	before := x.hears("Ann", text("I am Ann"))
	ann.do(Act{Do: Rename, Text: "Ann Before-Noon"})
	ev := x.sinkHears("the new name", func(ev adapter.Event) bool {
		p, ok := ev.Body.(adapter.Profile)
		return ok && p.Person.Name == "Ann Before-Noon"
	})
	if p := ev.Body.(adapter.Profile).Person; !samePerson(p, before.Sender) {
		s.Errorf("profile of %q, Ann was %q", p.IDs, before.Sender.IDs)
	}
	ann.say("now I am not")
	after := x.hears("the renamed", text("now I am not"))
	if after.Sender.Name != "Ann Before-Noon" || !samePerson(after.Sender, ev.Body.(adapter.Profile).Person) {
		s.Errorf("after the change: %q %q", after.Sender.Name, after.Sender.IDs)
	}
}

// sinkHears is hears for what may concern the whole account.
func (x *session) sinkHears(what string, ok func(adapter.Event) bool) adapter.Event {
	x.s.Helper()
	ctx, cancel := x.s.patient()
	defer cancel()
	ev, err := x.sink.Wait(ctx, ok)
	if err != nil {
		x.s.Fatalf("no event %q: %v; got %s", what, err, briefEvents(x.sink.Events()))
	}
	return ev
}

func renameOut(s *stage) {
	x := s.begin()
	profiles, ok := x.Adapter.(adapter.Profiles)
	if !ok {
		s.Fatalf("no adapter.Profiles: say so in Lacks")
	}
	ann := s.human("Ann")
	x.deliver(x.say(alice, "before"))
	ann.sees("the old name", x.says(alice, "before"))
	renamed := alice
	renamed.Name = "Alicia"
	ctx, cancel := s.patient()
	defer cancel()
	if err := profiles.SetProfile(ctx, renamed); err != nil {
		s.Fatalf("SetProfile: %v", err)
	}
	x.deliver(x.say(renamed, "after"))
	ann.once(x, "the new name", x.says(renamed, "after"))
}

// member matches a change of membership of that person.
func member(of adapter.Person, changes ...adapter.MemberChange) func(adapter.Event) bool {
	return func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Membership)
		return ok && slices.Contains(changes, m.Change) && samePerson(m.Person, of)
	}
}

// known has a person speak and returns who that is.
func (x *session) known(a *actor) adapter.Person {
	x.s.Helper()
	a.say("I am " + a.name)
	return x.hears(a.name, text("I am "+a.name)).Sender
}

func joinIn(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	ev := x.hears("Ann's joining", member(x.known(ann), adapter.Joined))
	if m := ev.Body.(adapter.Membership); m.Person.Name != "Ann" || ev.Own {
		s.Errorf("joined %q, own=%v", m.Person.Name, ev.Own)
	}
}

func leaveIn(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	who := x.known(ann)
	ann.do(Act{Do: Leave})
	x.hears("Ann's leaving", member(who, adapter.Left))
}

func kickIn(s *stage) {
	x := s.begin()
	ann, ben := s.human("Ann"), s.human("Ben")
	moderator, who := x.known(ann), x.known(ben)
	seen := ann.sees("Ben", func(m Seen) bool { return m.Text == "I am Ben" })
	ann.do(Act{Do: Kick, Whom: seen.Sender})
	ev := x.hears("Ben's removal", member(who, adapter.Kicked, adapter.Banned))
	if len(ev.Sender.IDs) > 0 && !samePerson(ev.Sender, moderator) {
		s.Errorf("removed by %q, it was %q", ev.Sender.IDs, moderator.IDs)
	}
}

// kickOurs: people remove one of our names; the event says which of our people that was.
func kickOurs(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	x.deliver(x.say(alice, "here I am"))
	seen := ann.sees("Alice", x.says(alice, "here I am"))
	ann.do(Act{Do: Kick, Whom: seen.Sender})
	x.hears("Alice's removal", func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Membership)
		return ok && m.Person.User == alice.User && (m.Change == adapter.Kicked || m.Change == adapter.Banned)
	})
	ann.say("she had it coming")
	x.hears("Ann, after that", text("she had it coming"))
}

func (x *session) setMember(change adapter.MemberChange, who adapter.Author) {
	x.s.Helper()
	members, ok := x.Adapter.(adapter.Members)
	if !ok {
		x.s.Fatalf("no adapter.Members: say so in Lacks")
	}
	ctx, cancel := x.s.patient()
	defer cancel()
	if err := members.SetMember(ctx, adapter.MemberUpdate{Conversation: x.conv, Change: change, Author: who}); err != nil {
		x.s.Fatalf("SetMember: %v", err)
	}
}

// lists waits until the person's client lists somebody of that name as a member, or no longer.
func (a *actor) lists(name string, want bool) {
	a.s.Helper()
	WaitFor(a.s.T, a.s.net.patience(), fmt.Sprintf("%s listed as a member: %v", name, want), func() error {
		v, err := a.view()
		if err == nil && slices.ContainsFunc(v.Members, func(m Member) bool { return strings.Contains(m.Name, name) }) != want {
			err = fmt.Errorf("members are %v", v.Members)
		}
		return err
	})
}

func memberOut(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	x.setMember(adapter.Joined, alice)
	x.setMember(adapter.Joined, alice)
	ann.lists(alice.Name, true)
	x.deliver(x.say(alice, "hello"))
	ann.sees("Alice", x.says(alice, "hello"))
	x.setMember(adapter.Left, alice)
	x.setMember(adapter.Left, alice)
	ann.lists(alice.Name, false)
	x.barrier(ann)
	if foreign := x.heard(func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Membership)
		return ok && m.Person.Name == alice.Name && (!ev.Own || m.Person.User != alice.User)
	}); len(foreign) > 0 {
		s.Errorf("our own change of membership is reported as somebody's: %s", briefEvents(foreign))
	}
}

func kickOut(s *stage) {
	x := s.begin()
	ann, ben := s.human("Ann"), s.human("Ben")
	who := x.known(ben)
	ann.lists("Ben", true)
	native := author("ben", "Ben")
	native.Native = who.IDs
	x.setMember(adapter.Kicked, native)
	ann.lists("Ben", false)
}
