//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/content"
)

// TestDisconnectsIn: the connection breaks at every step of receiving; everything is reported, in order, under one id each.
func TestDisconnectsIn(t *testing.T) {
	number := "491519999000"
	for what, rule := range map[string]waserver.Rule{
		"before a message":          {Way: waserver.ToClient, Match: waserver.Message, Skip: 1, Times: 1, Do: waserver.Cut},
		"after a message":           {Way: waserver.ToClient, Match: waserver.Message, Skip: 1, Times: 2, Do: waserver.CutAfter},
		"a message twice":           {Way: waserver.ToClient, Match: waserver.Message, Do: waserver.Twice},
		"before an acknowledgement": {Way: waserver.FromClient, Match: waserver.Ack, Skip: 1, Times: 2, Do: waserver.Cut},
		"after an acknowledgement":  {Way: waserver.FromClient, Match: waserver.Ack, Skip: 1, Times: 2, Do: waserver.CutAfter},
		"acknowledgement lost":      {Way: waserver.FromClient, Match: waserver.Ack, Skip: 1, Times: 2, Do: waserver.Lose},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l, r, ann, _ := personal(t)
			rule.Number = number
			remove := l.Script(rule)
			var said []string
			for i := range 6 {
				said = append(said, fmt.Sprintf("in %d", i))
				ann.phone.Text(t, ann.group, said[i])
			}
			remove()
			l.Drop(number) // what was not acknowledged comes again
			ann.phone.Text(t, ann.group, "the end")
			r.hears("the end", says("the end"))
			var order []string
			ids := map[string]adapter.NativeID{}
			for _, ev := range r.sink.Events() {
				each := text(ev)
				if !strings.HasPrefix(each, "in ") {
					continue
				}
				if _, known := ids[each]; !known {
					order = append(order, each)
					ids[each] = ev.ID
				}
				if ids[each] != ev.ID {
					t.Errorf("%s came as %s and %s", each, ids[each], ev.ID)
				}
			}
			if !slices.Equal(order, said) {
				t.Errorf("said %q, reported %q", said, order)
			}
			l.WaitQuiet(t, number)
		})
	}
}

// taken matches the server's acknowledgements of our messages.
func taken(n *waBinary.Node) bool { return n.Tag == "ack" && n.Attrs["class"] == "message" }

// TestDisconnectsOut: the connection breaks at every step of sending; sent as the gateway does, everything is shown once and in order.
func TestDisconnectsOut(t *testing.T) {
	number := "491519999000"
	for what, rule := range map[string]waserver.Rule{
		"before a message":          {Way: waserver.FromClient, Match: waserver.Message, Skip: 1, Times: 2, Do: waserver.Cut},
		"after a message":           {Way: waserver.FromClient, Match: waserver.Message, Skip: 1, Times: 2, Do: waserver.CutAfter},
		"before an acknowledgement": {Way: waserver.ToClient, Match: taken, Skip: 1, Times: 2, Do: waserver.Cut},
		"after an acknowledgement":  {Way: waserver.ToClient, Match: taken, Skip: 1, Times: 2, Do: waserver.CutAfter},
		"asking for devices":        {Way: waserver.FromClient, Match: waserver.Request("usync"), Times: 2, Do: waserver.Cut},
		"asking for keys":           {Way: waserver.FromClient, Match: waserver.Request("encrypt"), Times: 2, Do: waserver.Cut},
		"refused for a moment":      {Way: waserver.FromClient, Match: waserver.Message, Skip: 1, Times: 2, Do: waserver.Reject, Code: 503},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l, r, ann, c := personal(t)
			rule.Number = number
			defer l.Script(rule)()
			defer func() {
				if broken := len(r.errs) > 0; broken == (rule.Do == waserver.Reject) {
					t.Errorf("the connection broke %d times", len(r.errs))
				}
			}()
			var want []string
			for i := range 6 {
				want = append(want, fmt.Sprintf("out %d", i))
				r.deliver(c, fmt.Sprintf("KEY%d", i), want[i])
			}
			adaptertest.WaitFor(t, patience, "everything is shown", func() error {
				v, err := ann.View(t.Context())
				if err != nil {
					return err
				}
				var got []string
				for _, m := range v.Messages {
					got = append(got, strings.TrimPrefix(m.Text, "*Bob:* "))
				}
				if !slices.Equal(got, want) {
					return fmt.Errorf("shown are %q", got)
				}
				return nil
			})
		})
	}
}

// deliver sends as the gateway does: what is unknown is asked for, and then sent again.
func (r *running) deliver(c adapter.Conversation, key, say string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	out := adapter.Outbound{Conversation: c, Marker: adapter.Marker{Gateway: r.account.Provider, Key: key}, Author: r.author("Bob"),
		Content: *content.Text(say), Time: time.Now()}
	for {
		out.Attempt++
		sent, err := r.Send(ctx, out)
		if err != nil && !errors.Is(err, adapter.ErrNotDelivered) {
			sent, err = r.Confirm(ctx, out)
		}
		if err == nil && len(sent.Parts) == 1 {
			return
		}
		if ctx.Err() != nil || errors.Is(err, adapter.ErrRefused) || errors.Is(err, adapter.ErrGone) {
			r.t.Errorf("%s: %v", say, err)
			return
		}
	}
}

// TestFullStoreGroup: the same of what happens to a group, which is no message.
func TestFullStoreGroup(t *testing.T) {
	l, r, ann, _ := personal(t)
	left := 2
	renamed := func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.ConversationState)
		return ok && s.Name != nil && *s.Name == "Renamed while full" && s.Direct == nil
	}
	r.sink.Refuse(func(ev adapter.Event) error {
		if renamed(ev) && left > 0 {
			left--
			return errors.New("the store is full")
		}
		return nil
	})
	if err := ann.phone.SetGroupName(t.Context(), ann.group, "Renamed while full"); err != nil {
		t.Fatal(err)
	}
	r.hears("the new name", renamed)
	if refused := len(r.sink.Refused()); refused != 2 {
		t.Errorf("refused %d times", refused)
	}
	l.WaitQuiet(t, l.accounts[0].phone.Number())
}

// TestFullStore: what the gateway does not take is offered again, and nothing later before it.
func TestFullStore(t *testing.T) {
	l, r, ann, _ := personal(t)
	full := errors.New("the store is full")
	left := 3
	r.sink.Refuse(func(ev adapter.Event) error {
		if text(ev) == "while full" && left > 0 {
			left--
			return full
		}
		return nil
	})
	for _, each := range []string{"before", "while full", "later"} {
		ann.phone.Text(t, ann.group, each)
	}
	r.hears("the later one", says("later"))
	if got := append(r.texts("before"), append(r.texts("while full"), r.texts("later")...)...); !slices.Equal(got, []string{"before", "while full", "later"}) {
		t.Errorf("reported %q", got)
	}
	if refused := r.sink.Refused(); len(refused) != 3 {
		t.Errorf("refused %d times", len(refused))
	}
	l.WaitQuiet(t, l.accounts[0].phone.Number())
}
