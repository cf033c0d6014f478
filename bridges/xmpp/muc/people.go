package muc

import (
	"slices"
	"strconv"
	"time"

	"mimigate/bridges/xmpp/talk"
	"mimigate/core/adapter"
)

// Stray reports whether a JID of ours gets copies of the room's messages though it is no occupant that we know of, and was not
// yet told to leave.
func (r *Room) Stray(to string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.ours {
		if o.jid == to {
			return false
		}
	}
	if _, told := r.strays.Get(to); told || !r.me.in {
		return false
	}
	r.strays.Put(to, "")
	return true
}

// occupantOf returns whom of ours a full JID belongs to, or nil; r.mu is held.
func (r *Room) occupantOf(j string) *occupant {
	if r.me.jid == j {
		return r.me
	}
	for _, o := range r.ours {
		if o.jid == j {
			return o
		}
	}
	return nil
}

// byNick returns whom of ours a nick belongs to, or nil; r.mu is held.
func (r *Room) byNick(nick string) *occupant {
	if r.me.nick == nick {
		return r.me
	}
	for _, o := range r.ours {
		if o.nick == nick {
			return o
		}
	}
	return nil
}

// person is how the gateway knows somebody in the room.
func (p *person) person(room string) adapter.Person {
	out := adapter.Person{Name: p.nick, User: p.user, Verified: p.jid != "" || p.occupant != ""}
	if p.jid != "" {
		out.IDs = append(out.IDs, adapter.PersonID(p.jid))
	}
	if p.occupant != "" {
		out.IDs = append(out.IDs, talk.OccupantPerson(room, p.occupant))
	}
	if len(out.IDs) == 0 {
		out.IDs = []adapter.PersonID{talk.NickPerson(room, p.since, p.nick)}
	}
	return out
}

// key tells a person from others of the room, as far as the room tells.
func (p *person) key() string {
	switch {
	case p.occupant != "":
		return "o:" + p.occupant
	case p.jid != "":
		return "j:" + p.jid
	}
	return "n:" + p.since + p.nick
}

// member reports whether the room lists the person, be they there or not.
func (p *person) member() bool {
	return p.affiliation == "member" || p.affiliation == "admin" || p.affiliation == "owner"
}

func nowString() string { return strconv.FormatInt(time.Now().UnixNano(), 36) }

// mentionable implements place.nicks.
func (r *Room) mentionable() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]string{}
	for nick, p := range r.people {
		switch {
		case !p.user.IsZero():
			out[nick] = p.user.String()
		case !p.ours && len(out) < 1000:
			out[nick] = p.person(r.jid).IDs[0].URL()
		}
	}
	return out
}

// nickFor returns the nick of somebody in the room, or "".
func (r *Room) nickFor(who adapter.Author) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.ours[who.User]; o != nil {
		return o.nick
	}
	return r.nickAmong(who.Native)
}

// nickAmong returns the nick of the native person with one of these ids, or ""; r.mu is held.
func (r *Room) nickAmong(ids []adapter.PersonID) string {
	for _, p := range r.people {
		for _, id := range p.person(r.jid).IDs {
			if slices.Contains(ids, id) {
				return p.nick
			}
		}
	}
	return ""
}

func (r *Room) nickOfPerson(id adapter.PersonID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nickAmong([]adapter.PersonID{id})
}
