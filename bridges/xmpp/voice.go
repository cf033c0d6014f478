package xmpp

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mimigate/core/adapter"
)

// refusedFor is how long we do not try again to bring somebody in whom the room has refused or thrown out.
const refusedFor = 10 * time.Minute

// maxLocal is the longest local part of an address (RFC 7622 §3.3).
const maxLocal = 1023

// gatewayVoice is the gateway's own name, with the author's in the text; why says why it is not the author's own.
func (r *room) gatewayVoice(who adapter.Author, why string) voice {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := voice{jid: r.me.jid, gateway: true, prefix: prefixOf(who)}
	if why != "" {
		v.notes = []string{"author named in the text: " + why}
	}
	return v
}

// voice decides under which name somebody speaks, and brings that name into the room.
func (r *room) voice(ctx context.Context, l *link, who adapter.Author, must speaker) (voice, error) {
	if who.IsGateway() || !r.a.component || must == gatewayName || r.a.cfg.Occupants == 0 {
		return r.gatewayVoice(who, ""), nil
	}
	o, why, err := r.bring(ctx, l, who)
	if err != nil {
		return voice{}, err
	}
	if o == nil && must == ownName {
		return voice{}, adapter.Refused(fmt.Errorf("room %s: only the name that said it can change it: %s", r.jid, why))
	}
	if o == nil {
		return r.gatewayVoice(who, why), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o.spoke = time.Now()
	v := voice{jid: o.jid}
	if o.nick != cleanNick(who.Name) {
		v.notes = []string{fmt.Sprintf("shown as %q", o.nick)}
	}
	return v, nil
}

// bring makes somebody an occupant of the room. Without one it says why not; an error says that there is no telling.
func (r *room) bring(ctx context.Context, l *link, who adapter.Author) (*occupant, string, error) {
	done, err := r.act(ctx)
	if err != nil {
		return nil, "", err
	}
	defer done()
	r.mu.Lock()
	o, count := r.ours[who.User], len(r.ours)
	if o == nil && count < r.a.cfg.Occupants {
		o = &occupant{user: who.User, jid: r.a.addressOf(who.User), name: who.Name, spoke: time.Now()}
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
			r.a.account.Log.Warn("nick not changed", "room", r.jid, "err", err)
		}
		return o, "", nil
	}
	if !refused.IsZero() && time.Since(refused) < refusedFor {
		return nil, "the room does not let them in", nil
	}
	names := nicks(who.Name, who.User.Domain())
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
	if refusal, ok := asStanzaError(err); ok && refusal.kind != "wait" {
		r.mu.Lock()
		o.refused = time.Now()
		r.mu.Unlock()
		return nil, "the room does not let them in: " + refusal.Error(), nil
	}
	return nil, "", adapter.NotDelivered(fmt.Errorf("room %s: joining: %w", r.jid, err))
}

// mayspeak reports whether the gateway's own name has voice.
func (r *room) mayspeak() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.me.role != "visitor"
}

// checkPresence looks whether we are still in the room, and goes back if not.
func (r *room) checkPresence(l *link) {
	r.mu.Lock()
	self, in := r.jid+"/"+r.me.nick, r.me.in && !r.pinging
	r.pinging = r.pinging || in
	r.mu.Unlock()
	if in {
		r.selfPing(l, self)
	}
}
