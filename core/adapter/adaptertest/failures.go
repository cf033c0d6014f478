package adaptertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// echo: what we send comes back as ours, or not at all.
func echo(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	var sents []adapter.Sent
	var outs []adapter.Outbound
	for _, who := range []adapter.Author{alice, bob, {}} {
		out := x.say(who, "hello, echo, from "+who.Name)
		outs, sents = append(outs, out), append(sents, x.deliver(out))
	}
	ann.sees("the messages", func(m Seen) bool { return strings.Contains(m.Text, "hello, echo, from "+bob.Name) })
	x.barrier(ann)
	for _, ev := range x.heard(func(ev adapter.Event) bool { _, ok := ev.Body.(adapter.Message); return ok }) {
		for i, out := range outs {
			if !strings.Contains(textOf(ev.Body.(adapter.Message).Content.Body), textOf(out.Content.Body)) {
				continue
			}
			known := slices.ContainsFunc(sents[i].Parts, func(p adapter.NativePart) bool { return p.ID == ev.ID })
			if !ev.Own || !known && ev.Marker.Key != out.Marker.Key {
				s.Errorf("an echo that is not known as one: own=%v, id %q of %+v, marker %q", ev.Own, ev.ID, sents[i].Parts, ev.Marker)
			}
			break
		}
	}
}

// repeatedSend: the gateway was killed after the network had taken the message and before it wrote that down.
func repeatedSend(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	out := x.say(alice, "only once")
	first := x.deliver(out)
	out.Attempt = 2
	second := x.deliver(out)
	if !slices.Equal(first.Parts, second.Parts) {
		s.Errorf("first sent as %+v, then as %+v", first.Parts, second.Parts)
	}
	ann.once(x, "the text", x.says(alice, "only once"))
}

var errFull = errors.New("the store is full")

// notTaken: what the gateway did not take is not acknowledged, and comes again before what was said after it.
func notTaken(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	ann.say("before")
	x.hears("the first text", text("before"))
	left := 2
	x.sink.Refuse(func(ev adapter.Event) error {
		if text("refused at first")(ev) && left > 0 {
			left--
			return errFull
		}
		return nil
	})
	ann.say("refused at first")
	ann.say("said after")
	x.hearsAll(ann, []string{"before", "refused at first", "said after"})
	refused := slices.DeleteFunc(x.sink.Refused(), func(ev adapter.Event) bool { return !text("refused at first")(ev) })
	if len(refused) != 2 {
		s.Errorf("refused %d times, want 2", len(refused))
	}
	taken := x.hears("the refused text", text("refused at first"))
	for _, ev := range refused {
		if ev.ID != taken.ID || ev.Conversation != taken.Conversation || !samePerson(ev.Sender, taken.Sender) {
			s.Errorf("refused as %q by %q, then %q by %q", ev.ID, ev.Sender.IDs, taken.ID, taken.Sender.IDs)
		}
	}
}

// takenTwice: the gateway was killed after it had taken an event and before the network knew. What comes again has the same id.
func takenTwice(s *stage) {
	state := &State{}
	x := s.start(0, ourDomain, state)
	ann := s.human("Ann")
	ann.say("before")
	x.hears("the first text", text("before"))
	x.barrier(ann)
	earlier := state.Copy()
	ann.say("taken")
	taken := x.hears("the text", text("taken"))
	x.stop()

	y := s.start(0, ourDomain, earlier)
	y.barrier(ann)
	again := y.heard(text("taken"))
	for _, ev := range again {
		if ev.ID != taken.ID {
			s.Errorf("taken as %q, then again as %q", taken.ID, ev.ID)
		}
	}
	s.Logf("reported again %d times after a restart from an earlier state", len(again))
}

// link breaks the account's connection, and mends it at the end of the case.
func (x *session) link() Link {
	x.s.Helper()
	l := x.s.net.Link(x.s.T, x.account)
	x.s.Cleanup(func() { l.Set(Up) })
	return l
}

func reconnect(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	link := x.link()
	x.deliver(x.say(alice, "before"))
	ann.sees("before", x.says(alice, "before"))
	for range 2 {
		link.Set(Down)
		link.Set(Up)
	}
	x.deliver(x.say(alice, "after"))
	ann.once(x, "after", x.says(alice, "after"))
	ann.say("still there?")
	x.hears("Ann's text", text("still there?"))
}

func reconnectCatchUp(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	link := x.link()
	said := []string{"before"}
	ann.say(said[0])
	x.hears("the first text", text(said[0]))
	for _, t := range []string{"while down", "still down", "for the third time"} {
		link.Set(Down)
		ann.say(t)
		link.Set(Up)
		said = append(said, t)
		x.hears(t, text(t))
	}
	x.hearsAll(ann, said)
}

// outcome is what a Send came to.
type outcome struct {
	sent adapter.Sent
	err  error
}

// sending calls Send in the background. The context it gets ends with cancel.
func (x *session) sending(out adapter.Outbound) (done <-chan outcome, cancel context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	ch := make(chan outcome, 1)
	go func() {
		sent, err := x.Send(ctx, out)
		ch <- outcome{sent, err}
	}()
	return ch, cancel
}

// result waits for the end of a Send.
func (x *session) result(done <-chan outcome, when string) outcome {
	x.s.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(x.s.net.patience()):
		x.s.Fatalf("Send did not return within %v %s", x.s.net.patience(), when)
		return outcome{}
	}
}

// warm has Alice speak once, so that she has joined and so on before the link is broken.
func (x *session) warm(a *actor) Link {
	x.s.Helper()
	x.deliver(x.say(alice, "good morning"))
	a.sees("good morning", x.says(alice, "good morning"))
	return x.link()
}

// slowSend: Send waits for a slow network, and says that it was delivered only when it was.
func slowSend(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	link := x.warm(ann)
	link.Set(Slow)
	out := x.say(alice, "slowly")
	done, cancel := x.sending(out)
	defer cancel()
	select {
	case r := <-done:
		if r.err == nil {
			s.Errorf("Send returned %+v while nothing reached the network", r.sent)
		}
		link.Set(Up)
		s.Fatalf("Send gave up at once on a slow network: %v", r.err)
	case <-time.After(300 * time.Millisecond):
	}
	link.Set(Up)
	if r := x.result(done, "after the network was fast again"); r.err != nil {
		s.Errorf("Send: %v", r.err)
	}
	ann.once(x, "the slow text", x.says(alice, "slowly"))
}

// certainFailure: while there is no connection, Send fails with ErrNotDelivered, and nothing of it is ever shown.
func certainFailure(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	link := x.warm(ann)
	link.Set(Down)
	var unknown []adapter.Outbound
	var out adapter.Outbound
	WaitFor(s.T, s.net.patience(), "a certain failure without a connection", func() error {
		out = x.say(alice, "never mind "+newID().String())
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		sent, err := x.Send(ctx, out)
		switch {
		case err == nil:
			s.Fatalf("Send returned %+v without a connection", sent)
		case errors.Is(err, adapter.ErrNotDelivered):
			if errors.Is(err, adapter.ErrRefused) || len(sent.Parts) > 0 {
				s.Errorf("a broken connection is no reason to give up: %v, %+v", err, sent.Parts)
			}
			return nil
		}
		unknown = append(unknown, out) // it was being sent when the connection broke
		return err
	})
	link.Set(Up)
	for _, u := range unknown {
		ctx, cancel := s.patient()
		if sent, err := x.confirm(ctx, u, errFull); !errors.Is(err, adapter.ErrNotDelivered) {
			s.Errorf("Confirm of what cannot have arrived: %+v, %v", sent.Parts, err)
		}
		cancel()
	}
	out.Attempt = 2
	x.deliver(out)
	ann.once(x, "the second attempt", x.says(alice, textOf(out.Content.Body)))
	if n := ann.count(func(m Seen) bool { return strings.Contains(m.Text, "never mind") }); n != 1 {
		s.Errorf("%d messages shown, want the last only", n)
	}
}

// unknownArrived: the network took the message and its answer was lost. Confirm finds it, and it is not sent again.
func unknownArrived(s *stage) {
	x := s.begin()
	confirmer := x.confirmer()
	ann := s.human("Ann")
	link := x.warm(ann)
	link.Set(Deaf)
	out := x.say(alice, "did it arrive?")
	done, cancel := x.sending(out)
	defer cancel()
	ann.sees("the text", x.says(alice, "did it arrive?"))
	cancel()
	r := x.result(done, "after its context had ended")
	if r.err == nil || errors.Is(r.err, adapter.ErrNotDelivered) {
		s.Errorf("nobody can know that, but Send returned %+v, %v", r.sent.Parts, r.err)
	}
	link.Set(Up)
	sent := x.confirmed(confirmer, out)
	ann.once(x, "the text", x.says(alice, "did it arrive?"))

	if s.has(DeleteOut) { // the ids that Confirm found are good
		del := x.outbound(alice, content.Delete(out.ID))
		del.Replaces = ours(out, sent)
		x.deliver(del)
		ann.gone("the text", x.says(alice, "did it arrive?"))
	}
}

// unknownLost: the message was lost on the way, after Send had given it away. Confirm says so, and it is sent again.
func unknownLost(s *stage) {
	x := s.begin()
	confirmer := x.confirmer()
	ann := s.human("Ann")
	link := x.warm(ann)
	link.Set(Slow)
	out := x.say(alice, "lost at first")
	done, cancel := x.sending(out)
	defer cancel()
	select {
	case r := <-done:
		s.Fatalf("Send on a slow network: %+v, %v", r.sent, r.err)
	case <-time.After(300 * time.Millisecond):
	}
	link.Set(Down)
	cancel()
	if r := x.result(done, "after its context had ended"); r.err == nil {
		s.Errorf("Send returned %+v, though it was lost", r.sent.Parts)
	}
	link.Set(Up)
	ctx, cancelAll := s.patient()
	defer cancelAll()
	WaitFor(s.T, s.net.patience(), "Confirm", func() error {
		sent, err := confirmer.Confirm(ctx, out)
		if err == nil || len(sent.Parts) > 0 {
			s.Fatalf("Confirm found %+v, but it was lost", sent.Parts)
		}
		if errors.Is(err, adapter.ErrNotDelivered) {
			return nil
		}
		return err
	})
	out.Attempt = 2
	x.deliver(out)
	ann.once(x, "the text", x.says(alice, "lost at first"))
}

func (x *session) confirmer() adapter.Confirmer {
	x.s.Helper()
	c, ok := x.Adapter.(adapter.Confirmer)
	if !ok {
		x.s.Fatalf("no adapter.Confirmer: say so in Lacks")
	}
	return c
}

// confirmed waits until Confirm finds the message.
func (x *session) confirmed(c adapter.Confirmer, out adapter.Outbound) adapter.Sent {
	x.s.Helper()
	ctx, cancel := x.s.patient()
	defer cancel()
	var sent adapter.Sent
	WaitFor(x.s.T, x.s.net.patience(), "Confirm", func() error {
		var err error
		sent, err = c.Confirm(ctx, out)
		if errors.Is(err, adapter.ErrNotDelivered) || errors.Is(err, adapter.ErrUnknown) {
			x.s.Fatalf("it arrived, but Confirm says: %v", err)
		}
		return err
	})
	x.checkSent(out, sent)
	return sent
}

// noConversation: a conversation that does not exist is refused by name, and harms nothing else (peers.md §2, 28).
func noConversation(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	opener, ok := x.Adapter.(adapter.Conversations)
	if !ok || s.net.Missing == "" {
		s.needs(Missing)
		s.Fatalf("no adapter.Conversations, or no Network.Missing: say so in Lacks")
	}
	ctx, cancel := s.patient()
	defer cancel()
	if c, err := opener.Open(ctx, s.net.Missing); !errors.Is(err, adapter.ErrNotFound) && !errors.Is(err, adapter.ErrGone) {
		s.Errorf("Open of what does not exist: %q, %v", c, err)
	}
	ann.say("we go on")
	x.hears("Ann's text", text("we go on"))
	x.deliver(x.say(alice, "we too"))
	ann.sees("Alice's text", x.says(alice, "we too"))
}

// notConnected: without Run, Send waits as long as it may and then says that nothing was sent.
func notConnected(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	x.stop()
	y := s.create(0, ourDomain, x.state)
	y.conv = x.conv
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	out := y.say(alice, "too early")
	if sent, err := y.Send(ctx, out); !errors.Is(err, adapter.ErrNotDelivered) || len(sent.Parts) > 0 {
		s.Errorf("Send before Run: %+v, %v", sent.Parts, err)
	}
	y.run()
	y.open()
	out.Attempt = 2
	y.deliver(out)
	ann.once(y, "the text", y.says(alice, "too early"))
}
