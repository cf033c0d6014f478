package muc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// echoWithin is how long a room may take to show us our own message.
const echoWithin = 30 * time.Second

// Send shows a message in the room.
func (r *Room) Send(ctx context.Context, l *link.Link, out adapter.Outbound) (adapter.Sent, error) {
	if err := r.Ready(ctx, l); err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	if out.Attempt > 1 { // it may have arrived after all
		if found, err := r.lookUp(ctx, l, out); err == nil || errors.Is(err, adapter.ErrNotDelivered) {
			out.Done = found.Parts
		}
	}
	refs, err := r.references(ctx, l, out)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	v, err := r.voice(ctx, l, out.Author, refs.Speaker)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	sent, err := r.sendAs(ctx, l, out, v, refs)
	if errors.Is(err, errNoVoice) && !v.Gateway && refs.Speaker == talk.AnyName && r.mayspeak() {
		out.Done = sent.Parts
		v = r.gatewayVoice(out.Author, "the room gives them no voice")
		sent, err = r.sendAs(ctx, l, out, v, refs)
	}
	return sent, err
}

// sendAs shows a message under one of our names.
func (r *Room) sendAs(ctx context.Context, l *link.Link, out adapter.Outbound, v talk.Voice, refs talk.References) (adapter.Sent, error) {
	steps, notes, err := talk.Plan(out, v, refs)
	sent := adapter.Sent{Notes: append(v.Notes, notes...)}
	if err != nil {
		sent.Parts = out.Done
		return sent, err
	}
	for i, s := range steps {
		if done, ok := talk.DoneBefore(out, s.Part); ok {
			sent.Parts = append(sent.Parts, done)
			continue
		}
		became, err := r.say(ctx, l, v, out, s)
		if err != nil {
			for _, later := range steps[i+1:] {
				if done, ok := talk.DoneBefore(out, later.Part); ok {
					sent.Parts = append(sent.Parts, done)
				}
			}
			return sent, err
		}
		sent.Time = became.Time
		s.Part.ID = became.ID
		sent.Parts = append(sent.Parts, s.Part)
	}
	return sent, nil
}

// say sends one stanza to the room, and waits until the room shows it to us.
func (r *Room) say(ctx context.Context, l *link.Link, v talk.Voice, out adapter.Outbound, s talk.Step) (link.Outcome, error) {
	id := r.a.OwnID(r.conv, out.Marker.Key, s.Part.Part, s.Part.Piece, v.Gateway)
	became, forget := r.a.Waits.Await(r.conv, id)
	defer forget()
	if err := l.Stream.Send(ctx, talk.Stanza(out, s, id, "groupchat").With("from", v.JID).With("to", r.jid)); err != nil {
		return link.Outcome{}, err
	}
	late := time.NewTimer(echoWithin)
	defer late.Stop()
	select {
	case o := <-became:
		if o.Err != nil {
			return link.Outcome{}, r.refused(l, o.Err)
		}
		return o, nil
	case <-l.Stream.Ended():
		return link.Outcome{}, fmt.Errorf("room %s did not show the message before %w", r.jid, wire.ErrEnded)
	case <-ctx.Done():
		return link.Outcome{}, fmt.Errorf("room %s did not show the message: %w", r.jid, ctx.Err())
	case <-late.C:
		return link.Outcome{}, fmt.Errorf("room %s did not show the message within %v", r.jid, echoWithin)
	}
}

// refused says what it means that the room did not take a message.
func (r *Room) refused(l *link.Link, e *wire.StanzaError) error {
	err := fmt.Errorf("room %s: %w", r.jid, e)
	switch {
	case e.Cond == "forbidden" || e.Cond == "not-authorized":
		err = fmt.Errorf("room %s: %w: %w", r.jid, errNoVoice, e)
		r.a.Report(l, r.jid, Problem{fmt.Sprintf("account %s: %v", r.a.ID, err), advice(err)})
		return adapter.Gone(err)
	case e.Cond == "not-acceptable": // we are no longer in the room
		l.Start(func() { r.checkPresence(l) })
		return adapter.NotDelivered(err)
	}
	return talk.Failure(err, e)
}

// references finds what a message refers to.
func (r *Room) references(ctx context.Context, l *link.Link, out adapter.Outbound) (talk.References, error) {
	refs := talk.References{Names: r.nickOfPerson}
	if out.Replaces != nil {
		for _, p := range out.Replaces.Parts {
			source, err := r.sourceOf(ctx, l, p.ID)
			if err != nil {
				return refs, err
			}
			if own, viaGateway := r.a.IsOwnID(r.conv, source); own && viaGateway {
				refs.Speaker = talk.GatewayName
			} else if own && refs.Speaker == talk.AnyName {
				refs.Speaker = talk.OwnName
			}
			refs.Replaces = append(refs.Replaces, source)
			refs.Retract = append(refs.Retract, talk.Native(p.ID))
		}
	}
	if ref := out.InReplyTo; ref != nil && len(ref.Parts) > 0 {
		refs.To = talk.Native(ref.Parts[0].ID)
		if nick := r.nickFor(ref.Author); nick != "" {
			refs.Author = r.jid + "/" + nick
		}
	}
	return refs, nil
}
