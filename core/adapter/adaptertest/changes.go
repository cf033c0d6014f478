package adaptertest

import (
	"fmt"
	"slices"
	"strings"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// message matches events with a Message of people that ok accepts.
func message(ok func(adapter.Message) bool) func(adapter.Event) bool {
	return func(ev adapter.Event) bool {
		m, is := ev.Body.(adapter.Message)
		return is && !ev.Own && ok(m)
	}
}

func editIn(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	id := ann.say("tpyo")
	first := x.hears("the text", text("tpyo"))
	versions := []adapter.NativeID{first.ID}
	for _, better := range []string{"typo", "no typo"} {
		ann.do(Act{Do: Edit, To: id, Text: better})
		ev := x.hears("the edit", message(func(m adapter.Message) bool {
			return m.Replaces != "" && plain(textOf(m.Content.Body)) == better
		}))
		if m := ev.Body.(adapter.Message); !slices.Contains(versions, m.Replaces) || m.InReplyTo != "" {
			s.Errorf("edit replaces %q and answers %q, the message has %q", m.Replaces, m.InReplyTo, versions)
		}
		if slices.Contains(versions, ev.ID) || !samePerson(ev.Sender, first.Sender) {
			s.Errorf("edit has id %q and sender %q, after %q by %q", ev.ID, ev.Sender.IDs, versions, first.Sender.IDs)
		}
		versions = append(versions, ev.ID)
	}
}

func editOut(s *stage) {
	x := s.begin()
	x.supports(content.KindEdit, EditOut)
	ann := s.human("Ann")
	out := x.say(alice, "tpyo")
	ref := ours(out, x.deliver(out))
	before := ann.sees("the text", x.says(alice, "tpyo"))
	for _, better := range []string{"typo", "no typo at all"} {
		edit := x.outbound(alice, content.Edit(out.ID, content.Text(better)))
		edit.Replaces = ref
		sent := x.deliver(edit)
		ref.Versions = append(ref.Versions, sent.Parts[0].ID)
		after := ann.sees("the edit", x.says(alice, better))
		if !after.Edited || after.Sender != before.Sender {
			s.Errorf("edit of %+v is shown as %+v", before, after)
		}
	}
	if n := ann.count(func(m Seen) bool { return strings.Contains(m.Text, "typo") || strings.Contains(m.Text, "tpyo") }); n != 1 {
		s.Errorf("an edited message is shown as %d", n)
	}
}

func replyIn(s *stage) {
	x := s.begin()
	ann, ben := s.human("Ann"), s.human("Ben")
	out := x.say(alice, "Who is there?")
	sent := x.deliver(out)
	question := ann.sees("Alice's question", x.says(alice, "Who is there?"))
	ann.do(Act{Do: Reply, To: question.ID, Text: "Me"})
	ev := x.hears("the reply to ours", text("Me"))
	if m := ev.Body.(adapter.Message); m.InReplyTo != sent.Parts[0].ID {
		s.Errorf("reply to %q, we sent %+v", m.InReplyTo, sent.Parts)
	}
	me := ben.sees("Ann's reply", func(m Seen) bool { return m.Text == "Me" })
	ben.do(Act{Do: Reply, To: me.ID, Text: "Who is me?"})
	again := x.hears("the reply to Ann's", text("Who is me?"))
	if m := again.Body.(adapter.Message); m.InReplyTo != ev.ID {
		s.Errorf("reply to %q, Ann's has %q", m.InReplyTo, ev.ID)
	}
}

func replyOut(s *stage) {
	x := s.begin()
	x.supports(content.KindReply, ReplyOut)
	ann := s.human("Ann")
	ann.say("Anybody there?")
	ev := x.hears("the question", text("Anybody there?"))
	question := ann.sees("their question", func(m Seen) bool { return m.Text == "Anybody there?" })

	out := x.outbound(alice, content.Reply(newID(), content.Text("Yes, me")))
	out.InReplyTo = theirs(ev)
	sent := x.deliver(out)
	answer := ann.sees("Alice's answer", x.says(alice, "Yes, me"))
	if answer.ReplyTo != question.ID {
		s.Errorf("Alice's answer is shown as one to %q, want %q", answer.ReplyTo, question.ID)
	}
	second := x.outbound(bob, content.Reply(out.ID, content.Text("And me")))
	second.InReplyTo = ours(out, sent)
	x.deliver(second)
	if m := ann.sees("Bob's answer", x.says(bob, "And me")); m.ReplyTo != answer.ID {
		s.Errorf("Bob's answer is shown as one to %q, want %q", m.ReplyTo, answer.ID)
	}
}

func reactionIn(s *stage) {
	x := s.begin()
	ann, ben := s.human("Ann"), s.human("Ben")
	sent := x.deliver(x.say(alice, "We won!"))
	seen := ann.sees("the news", x.says(alice, "We won!"))
	ann.do(Act{Do: React, To: seen.ID, Emoji: "🎉"})
	reaction := x.hears("the reaction", reacts(sent.Parts[0].ID, "🎉"))
	ann.do(Act{Do: Unreact, To: seen.ID, Emoji: "🎉"})
	ev := x.hears("its taking back", func(ev adapter.Event) bool {
		switch body := ev.Body.(type) {
		case adapter.Reactions:
			return body.To == sent.Parts[0].ID && len(body.Emoji) == 0
		case adapter.Message:
			return body.Content.Body.IsNull() && body.Replaces == reaction.ID
		}
		return false
	})
	if !samePerson(ev.Sender, reaction.Sender) || reaction.ID == ev.ID {
		s.Errorf("reaction %q by %q, taken back as %q by %q", reaction.ID, reaction.Sender.IDs, ev.ID, ev.Sender.IDs)
	}
	ann.say("So did we")
	theirs := x.hears("Ann's text", text("So did we"))
	seen = ben.sees("Ann's text", func(m Seen) bool { return m.Text == "So did we" })
	ben.do(Act{Do: React, To: seen.ID, Emoji: "👨‍👩‍👧"})
	x.hears("a reaction among people", reacts(theirs.ID, "👨‍👩‍👧"))
}

// reacts matches a person's reaction with this emoji to a message, in either form.
func reacts(to adapter.NativeID, emoji string) func(adapter.Event) bool {
	return func(ev adapter.Event) bool {
		switch body := ev.Body.(type) {
		case adapter.Reactions:
			return body.To == to && slices.Contains(body.Emoji, emoji)
		case adapter.Message:
			return body.InReplyTo == to && slices.Contains(body.Content.Reactions(), emoji)
		}
		return false
	}
}

func reactionOut(s *stage) {
	x := s.begin()
	x.supports(content.KindReaction, ReactionOut)
	ann := s.human("Ann")
	ann.say("I am getting married")
	ev := x.hears("the news", text("I am getting married"))
	about := newID()

	sents := map[string]adapter.Sent{}
	ids := map[string]content.MessageID{}
	for _, who := range []adapter.Author{alice, bob} {
		out := x.outbound(who, content.React(about, "❤️"))
		out.InReplyTo, out.Reactions = theirs(ev), []string{"❤️"}
		sents[who.Name], ids[who.Name] = x.deliver(out), out.ID
	}
	ann.reactions("two hearts", "I am getting married", 2)

	back := x.outbound(alice, content.Unreact(ids[alice.Name], about))
	back.InReplyTo = theirs(ev)
	back.Replaces = &adapter.Ref{Parts: sents[alice.Name].Parts, Ours: true, Author: alice}
	x.deliver(back)
	left := ann.reactions("one heart", "I am getting married", 1)
	if x.Limits(x.conv).Authors == content.Native && !strings.Contains(left[0].Name, bob.Name) {
		s.Errorf("Bob's heart is left, shown as that of %q", left[0].Name)
	}
}

// reactions waits until the message with that text has n reactions.
func (a *actor) reactions(what, text string, n int) []Reaction {
	a.s.Helper()
	return a.sees(what, func(m Seen) bool { return m.Text == text && len(m.Reactions) == n }).Reactions
}

func deleteIn(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	id := ann.say("I should not have said that")
	first := x.hears("the text", text("I should not have said that"))
	ann.do(Act{Do: Delete, To: id})
	ev := x.hears("the deletion", message(func(m adapter.Message) bool { return m.Content.Body.IsNull() }))
	if m := ev.Body.(adapter.Message); m.Replaces != first.ID || ev.ID == first.ID {
		s.Errorf("deletion %q of %q, the message has %q", ev.ID, m.Replaces, first.ID)
	}
}

func deleteOut(s *stage) {
	x := s.begin()
	x.supports(content.KindDelete, DeleteOut)
	ann := s.human("Ann")
	out := x.say(alice, "I should not have said that")
	sent := x.deliver(out)
	ann.sees("the text", x.says(alice, "I should not have said that"))
	del := x.outbound(alice, content.Delete(out.ID))
	del.Replaces = ours(out, sent)
	x.deliver(del)
	ann.gone("the deleted text", x.says(alice, "I should not have said that"))
}

// restart: a new instance with the state of the one before resolves what refers to messages of before.
func restart(s *stage) {
	state := &State{}
	x := s.start(0, ourDomain, state)
	ann := s.human("Ann")
	id := ann.say("said before")
	before := x.hears("Ann's text", text("said before"))
	out := x.say(alice, "sent before")
	sent := x.deliver(out)
	seen := ann.sees("Alice's text", x.says(alice, "sent before"))
	x.stop()

	y := s.start(0, ourDomain, state)
	if y.conv != x.conv {
		s.Fatalf("the conversation is %q, it was %q", y.conv, x.conv)
	}
	y.barrier(ann)
	if s.has(EditOut) {
		edit := y.outbound(alice, content.Edit(out.ID, content.Text("edited after")))
		edit.Replaces = ours(out, sent)
		y.deliver(edit)
		ann.sees("the edit", y.says(alice, "edited after"))
		ann.gone("the first version", y.says(alice, "sent before"))
	}
	if s.has(EditIn) {
		ann.do(Act{Do: Edit, To: id, Text: "edited after, too"})
		y.hears("Ann's edit", message(func(m adapter.Message) bool { return m.Replaces == before.ID && !m.Content.Body.IsNull() }))
	}
	if s.has(ReplyIn) {
		ann.do(Act{Do: Reply, To: seen.ID, Text: "answered after"})
		y.hears("Ann's answer", message(func(m adapter.Message) bool { return m.InReplyTo == sent.Parts[0].ID }))
	}
	if s.has(ReactionIn) {
		ann.do(Act{Do: React, To: seen.ID, Emoji: "👍"})
		y.hears("Ann's reaction", reacts(sent.Parts[0].ID, "👍"))
	}
	if s.has(DeleteIn) {
		ann.do(Act{Do: Delete, To: id})
		y.hears("Ann's deletion", message(func(m adapter.Message) bool { return m.Content.Body.IsNull() && m.Replaces == before.ID }))
	}
	if s.has(DeleteOut) {
		del := y.outbound(alice, content.Delete(out.ID))
		del.Replaces = ours(out, sent)
		y.deliver(del)
		ann.gone("what we deleted", func(m Seen) bool { return m.ID == seen.ID && !m.Deleted })
	}
}

func restartCatchUp(s *stage) {
	state := &State{}
	x := s.start(0, ourDomain, state)
	ann := s.human("Ann")
	ann.say("before")
	x.hears("what was said before", text("before"))
	x.stop()
	var said []string
	for i := range 5 {
		said = append(said, fmt.Sprintf("while you were away %d", i))
		ann.say(said[i])
	}
	y := s.start(0, ourDomain, state)
	y.hearsAll(ann, said)
}

// hearsAll waits for all of these texts, and fails if they come out of order, or one of them under two ids.
func (x *session) hearsAll(a *actor, said []string) {
	x.s.Helper()
	for _, each := range said {
		x.hears(each, text(each))
	}
	x.barrier(a)
	var order []string
	ids := map[string]adapter.NativeID{}
	for _, ev := range x.heard(message(func(m adapter.Message) bool { return m.Replaces == "" })) {
		t := textOf(ev.Body.(adapter.Message).Content.Body)
		if !slices.Contains(said, t) {
			continue
		}
		if ids[t] == "" {
			ids[t] = ev.ID
			order = append(order, t)
		}
		if ids[t] != ev.ID {
			x.s.Errorf("%q came as %q and as %q", t, ids[t], ev.ID)
		}
	}
	if !slices.Equal(order, said) {
		x.s.Errorf("said was %q, reported %q", said, order)
	}
}
