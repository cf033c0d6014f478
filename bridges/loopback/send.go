package loopback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

// step is one request of those that show a message, and the part of it that it shows.
type step struct {
	part adapter.NativePart
	do   chat.Request
}

// Send (design §4 step 12) does one request after the other. See adapter.Adapter.
func (a *Adapter) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	steps, notes, err := a.plan(out)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	sent := adapter.Sent{Notes: notes}
	for _, s := range steps {
		if i := slices.IndexFunc(out.Done, func(p adapter.NativePart) bool { return p.Part == s.part.Part && p.Piece == s.part.Piece }); i >= 0 {
			sent.Parts = append(sent.Parts, out.Done[i])
			continue
		}
		conn, err := a.connected(ctx)
		if err != nil {
			return sent, err
		}
		receipt, err := conn.Do(ctx, s.do)
		if err != nil {
			return sent, fmt.Errorf("send: %w", failure(err))
		}
		sent.Time = receipt.At
		sent.Parts = append(sent.Parts, s.part)
	}
	return sent, nil
}

// Confirm looks for the ids that Send would have given. See adapter.Confirmer.
func (a *Adapter) Confirm(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	steps, notes, err := a.plan(out)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	conn, err := a.connected(ctx)
	if err != nil {
		return adapter.Sent{}, errors.New("not connected, nobody to ask") // not ErrNotDelivered: that would be an answer
	}
	var ids []string
	for _, s := range steps {
		ids = append(ids, s.do.ID)
	}
	found, err := conn.Find(ctx, room(out.Conversation), ids)
	if err != nil {
		return adapter.Sent{}, fmt.Errorf("confirm: %w", err)
	}
	sent := adapter.Sent{Notes: notes}
	for _, s := range steps {
		if receipt, ok := found[s.do.ID]; ok {
			sent.Time = receipt.At
			sent.Parts = append(sent.Parts, s.part)
		} else if i := slices.IndexFunc(out.Done, func(p adapter.NativePart) bool { return p.Part == s.part.Part && p.Piece == s.part.Piece }); i >= 0 {
			sent.Parts = append(sent.Parts, out.Done[i])
		}
	}
	if len(sent.Parts) < len(steps) {
		return sent, adapter.NotDelivered(fmt.Errorf("%d of %d parts are on the network", len(sent.Parts), len(steps)))
	}
	return sent, nil
}

// plan says which requests show a message, always the same for the same Outbound: Confirm and a repeated Send find the same ids.
func (a *Adapter) plan(out adapter.Outbound) (steps []step, notes []string, err error) {
	q := chat.Request{Room: room(out.Conversation), Tag: out.Marker.String()}
	q.User, q.Name = a.speaker(out.Author)
	m := &out.Content
	switch {
	case m.IsDelete():
		steps, err = changes(out.Replaces, q, chat.Delete)
	case m.IsUnreact():
		steps, err = changes(out.Replaces, q, chat.Unreact)
	case m.IsReaction():
		steps, err = reactions(out, q)
	case m.IsEdit():
		steps, notes, err = a.edit(out, q)
	default:
		steps, err = a.texts(out, q)
	}
	if err == nil && len(steps) == 0 {
		err = adapter.Refused(errors.New("nothing to show"))
	}
	for i := range steps {
		id := fmt.Sprintf("%s-%d-%d", out.Marker.Key, steps[i].part.Part, steps[i].part.Piece)
		steps[i].do.ID, steps[i].part.ID = id, adapter.NativeID(id)
	}
	return steps, notes, err
}

// errNoRef is the reason for refusing what changes a message that is not here; Degrade has turned it into text before that.
var errNoRef = errors.New("what it refers to was never shown here")

// changes deletes all parts of an earlier message, or takes back all of a reaction.
func changes(ref *adapter.Ref, q chat.Request, kind chat.Kind) ([]step, error) {
	if ref == nil || len(ref.Parts) == 0 {
		return nil, adapter.Refused(errNoRef)
	}
	var steps []step
	q.Kind = kind
	for i, p := range ref.Parts {
		if kind == chat.Delete {
			q.To = string(p.ID)
		} else {
			q.Undoes = string(p.ID)
		}
		steps = append(steps, step{adapter.NativePart{Piece: i}, q})
	}
	return steps, nil
}

// reactions takes back what a changed reaction was before, and adds what it is now.
func reactions(out adapter.Outbound, q chat.Request) ([]step, error) {
	if out.InReplyTo == nil || len(out.InReplyTo.Parts) == 0 {
		return nil, adapter.Refused(errNoRef)
	}
	var steps []step
	if out.Replaces != nil {
		q.Kind = chat.Unreact
		for _, p := range out.Replaces.Parts {
			q.Undoes = string(p.ID)
			steps = append(steps, step{adapter.NativePart{Piece: len(steps)}, q})
		}
		q.Undoes = ""
	}
	q.Kind, q.To = chat.React, string(out.InReplyTo.Parts[0].ID)
	for _, emoji := range out.Content.Reactions() {
		q.Emoji = emoji
		steps = append(steps, step{adapter.NativePart{Piece: len(steps)}, q})
	}
	return steps, nil
}

// piece is a text that fits into one native event.
type piece struct {
	part, number int
	nativeText
}

// pieces turns the parts of a message into texts that fit, each with the author's name where the mode needs it.
func (a *Adapter) pieces(out adapter.Outbound) ([]piece, error) {
	prefix := ""
	if a.config.Mode == modeBot && !out.Author.IsGateway() {
		prefix = displayName(out.Author.Name) + ": "
	}
	var all []piece
	for _, l := range leaves(out.Content.Body) {
		native, err := a.toNative(l.Part)
		if err != nil {
			return nil, err
		}
		before := prefix
		if native.markup {
			before = escape(prefix)
		}
		for i, text := range adapter.SplitText(native.text, chat.MaxText-len(before)) {
			all = append(all, piece{l.index, i, nativeText{before + text, native.markup}})
		}
	}
	return all, nil
}

// texts says each piece of a new message; the first is the answer, if it is one.
func (a *Adapter) texts(out adapter.Outbound, q chat.Request) ([]step, error) {
	all, err := a.pieces(out)
	if err != nil {
		return nil, err
	}
	q.Kind = chat.Text
	if out.InReplyTo != nil && len(out.InReplyTo.Parts) > 0 {
		q.To = string(out.InReplyTo.Parts[0].ID)
	}
	var steps []step
	for _, p := range all {
		q.Text, q.Markup = p.text, p.markup
		steps = append(steps, step{adapter.NativePart{Part: p.part, Piece: p.number}, q})
		q.To = ""
	}
	return steps, nil
}

// edit gives the native events of a message their new texts. An edit makes no new events: what does not fit is cut off, with a
// note, and events that it does not need any more say "…".
func (a *Adapter) edit(out adapter.Outbound, q chat.Request) (steps []step, notes []string, err error) {
	if out.Replaces == nil || len(out.Replaces.Parts) == 0 {
		return nil, nil, adapter.Refused(errNoRef)
	}
	all, err := a.pieces(out)
	if err != nil {
		return nil, nil, err
	}
	q.Kind = chat.Edit
	for i, old := range out.Replaces.Parts {
		q.To, q.Text, q.Markup = string(old.ID), "…", false
		if i < len(all) {
			q.Text, q.Markup = all[i].text, all[i].markup
		}
		steps = append(steps, step{adapter.NativePart{Piece: i}, q})
	}
	if len(all) > len(steps) {
		last := &steps[len(steps)-1].do
		last.Text = adapter.SplitText(last.Text, chat.MaxText-len(" …"))[0] + " …"
		notes = append(notes, "the edited text was cut to the length of the first version")
	}
	return steps, notes, nil
}

// leaf is a part to show and its index (mimi-content-09 §4.7).
type leaf struct {
	index int
	content.Part
}

// leaves returns the parts of a body that are to be shown: of alternatives the first that is text.
func leaves(body content.Part) []leaf {
	var out []leaf
	next := 0
	var walk func(p content.Part, show bool)
	walk = func(p content.Part, show bool) {
		index := next
		next++
		multi, ok := p.Body.(content.Multi)
		if !ok {
			if empty := p.IsNull() || p.IsText() && strings.TrimSpace(string(p.Body.(content.Single).Content)) == ""; show && !empty {
				out = append(out, leaf{index, p})
			}
			return
		}
		chosen := false
		for _, child := range multi.Parts {
			walk(child, show && !chosen)
			chosen = chosen || multi.Semantics == content.ChooseOne && child.IsText()
		}
	}
	walk(body, true)
	return out
}
