package muc

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// refusedFor is how long we do not try again to bring somebody in whom the room has refused or thrown out.
const refusedFor = 10 * time.Minute

// maxLocal is the longest local part of an address (RFC 7622 §3.3).
const maxLocal = 1023

// gatewayVoice is the gateway's own name, with the author's in the text; why says why it is not the author's own.
func (r *Room) gatewayVoice(who adapter.Author, why string) talk.Voice {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := talk.Voice{JID: r.me.jid, Gateway: true, Prefix: talk.PrefixOf(who)}
	if why != "" {
		v.Notes = []string{"author named in the text: " + why}
	}
	return v
}

// voice decides under which name somebody speaks, and brings that name into the room.
func (r *Room) voice(ctx context.Context, l *link.Link, who adapter.Author, must talk.Speaker) (talk.Voice, error) {
	if who.IsGateway() || !r.a.Component || must == talk.GatewayName || r.a.Occupants == 0 {
		return r.gatewayVoice(who, ""), nil
	}
	o, why, err := r.bring(ctx, l, who)
	if err != nil {
		return talk.Voice{}, err
	}
	if o == nil && must == talk.OwnName {
		return talk.Voice{}, adapter.Refused(fmt.Errorf("room %s: only the name that said it can change it: %s", r.jid, why))
	}
	if o == nil {
		return r.gatewayVoice(who, why), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o.spoke = time.Now()
	v := talk.Voice{JID: o.jid}
	if o.nick != talk.CleanNick(who.Name) {
		v.Notes = []string{fmt.Sprintf("shown as %q", o.nick)}
	}
	return v, nil
}

// bring makes somebody an occupant of the room. Without one it says why not; an error says that there is no telling.
func (r *Room) bring(ctx context.Context, l *link.Link, who adapter.Author) (*occupant, string, error) {
	done, err := r.act(ctx)
	if err != nil {
		return nil, "", err
	}
	defer done()
	if err := r.makePlace(ctx, l, who.User); err != nil {
		return nil, "", err
	}
	r.mu.Lock()
	o, count := r.ours[who.User], len(r.ours)
	if o == nil && count < r.a.Occupants {
		o = &occupant{user: who.User, jid: r.a.AddressOf(who.User), name: who.Name, spoke: time.Now()}
		if local, _, _ := strings.Cut(o.jid, "@"); len(local) <= maxLocal {
			r.ours[who.User] = o
		} else {
			o = nil
		}
	}
	r.mu.Unlock()
	if o == nil {
		return nil, fmt.Sprintf("%d names in use", count), nil
	}
	r.mu.Lock()
	in, refused := o.in, o.refused
	r.mu.Unlock()
	if in {
		if err := r.renamed(ctx, l, o, who.Name); err != nil {
			r.a.Log.Warn("nick not changed", "room", r.jid, "err", err)
		}
		return o, "", nil
	}
	if !refused.IsZero() && time.Since(refused) < refusedFor {
		return nil, "the room does not let them in", nil
	}
	names := talk.Nicks(who.Name, who.User.Domain())
	if o.nick != "" && o.name == who.Name { // as they were known there before
		names = append([]string{o.nick}, names...)
	}
	err = r.enter(ctx, l, o, names)
	if err == nil {
		r.mu.Lock()
		o.name = who.Name
		r.mu.Unlock()
		return o, "", nil
	}
	if refusal, ok := wire.AsError(err); ok && refusal.Kind != "wait" {
		r.mu.Lock()
		o.refused = time.Now()
		r.mu.Unlock()
		return nil, "the room does not let them in: " + refusal.Error(), nil
	}
	return nil, "", adapter.NotDelivered(fmt.Errorf("room %s: joining: %w", r.jid, err))
}

// giveWay is how long somebody must have been silent to leave for somebody else who wants to speak, where all places are taken.
const giveWay = 5 * time.Minute

// makePlace lets whoever has been silent longest leave, if there is no place for somebody new.
func (r *Room) makePlace(ctx context.Context, l *link.Link, u uri.User) error {
	r.mu.Lock()
	var silent *occupant
	if r.ours[u] == nil && len(r.ours) >= r.a.Occupants {
		for _, o := range r.ours {
			if time.Since(o.spoke) > giveWay && (silent == nil || o.spoke.Before(silent.spoke)) {
				silent = o
			}
		}
	}
	r.mu.Unlock()
	if silent == nil {
		return nil
	}
	return r.leave(ctx, l, silent)
}

// mayspeak reports whether the gateway's own name has voice.
func (r *Room) mayspeak() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.me.role != "visitor"
}

// renamed brings one of our names to the nick that is wanted now.
func (r *Room) renamed(ctx context.Context, l *link.Link, o *occupant, name string) error {
	if o.name == name {
		return nil
	}
	err := r.enter(ctx, l, o, talk.Nicks(name, o.user.Domain()))
	if err == nil {
		r.mu.Lock()
		o.name = name
		r.mu.Unlock()
	}
	return err
}
