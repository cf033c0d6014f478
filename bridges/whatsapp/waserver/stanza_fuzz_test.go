//go:build !nowhatsapp

package waserver

import (
	"testing"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// FuzzTake takes whatever frame a client sends: it answers or ignores it, and never panics.
func FuzzTake(f *testing.F) {
	me, group := types.NewJID("4915100000001", types.DefaultUserServer), types.NewJID("120363000000000001", types.GroupServer)
	for _, n := range []waBinary.Node{
		{Tag: "message", Attrs: waBinary.Attrs{"to": me, "id": "A"}, Content: []waBinary.Node{{Tag: "participants", Content: []waBinary.Node{{Tag: "to", Attrs: waBinary.Attrs{"jid": me}}}}}},
		{Tag: "message", Attrs: waBinary.Attrs{"to": group, "id": "A"}, Content: []waBinary.Node{{Tag: "enc", Content: []byte{1}}}},
		{Tag: "message", Attrs: waBinary.Attrs{"to": types.StatusBroadcastJID}},
		{Tag: "receipt", Attrs: waBinary.Attrs{"to": group, "participant": me, "type": "read", "id": "A"}},
		{Tag: "receipt", Attrs: waBinary.Attrs{"to": me, "type": "retry", "id": "A"}},
		{Tag: "receipt", Attrs: waBinary.Attrs{"to": me, "type": "server-error", "id": "A"}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "encrypt", "type": "get", "id": "1"}, Content: []waBinary.Node{{Tag: "key", Content: []waBinary.Node{{Tag: "user", Attrs: waBinary.Attrs{"jid": me}}, {Tag: "user"}}}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "usync", "type": "get", "id": "1"}, Content: []waBinary.Node{{Tag: "usync", Content: []waBinary.Node{{Tag: "query", Content: []waBinary.Node{{Tag: "devices"}, {Tag: "business"}}}, {Tag: "list", Content: []waBinary.Node{{Tag: "user", Attrs: waBinary.Attrs{"jid": me}}, {Tag: "user", Content: []waBinary.Node{{Tag: "contact", Content: "+1@c.us"}}}}}}}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "w:g2", "type": "set", "id": "1"}, Content: []waBinary.Node{{Tag: "create", Attrs: waBinary.Attrs{"subject": "x"}, Content: []waBinary.Node{{Tag: "participant", Attrs: waBinary.Attrs{"jid": me}}}}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "w:g2", "type": "set", "id": "1", "to": group}, Content: []waBinary.Node{{Tag: "remove", Content: []waBinary.Node{{Tag: "participant", Attrs: waBinary.Attrs{"jid": me}}}}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "w:profile:picture", "type": "set", "id": "1", "target": group}, Content: []waBinary.Node{{Tag: "picture", Content: []byte("x")}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "w:sync:app:state", "type": "set", "id": "1"}, Content: []waBinary.Node{{Tag: "sync", Content: []waBinary.Node{{Tag: "collection", Attrs: waBinary.Attrs{"name": "x", "version": "9"}}}}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "md", "type": "set", "id": "1"}, Content: []waBinary.Node{{Tag: "link_code_companion_reg", Attrs: waBinary.Attrs{"stage": "companion_hello", "jid": me}}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "md", "type": "set", "id": "1"}, Content: []waBinary.Node{{Tag: "remove-companion-device", Attrs: waBinary.Attrs{"jid": me}}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "privacy", "type": "set", "id": "1"}, Content: []waBinary.Node{{Tag: "tokens", Content: []waBinary.Node{{Tag: "token", Attrs: waBinary.Attrs{"jid": me}}}}}},
		{Tag: "iq", Attrs: waBinary.Attrs{"xmlns": "blocklist", "type": "set", "id": "1"}, Content: []waBinary.Node{{Tag: "item", Attrs: waBinary.Attrs{"jid": me, "action": "block"}}}},
		{Tag: "presence", Attrs: waBinary.Attrs{"type": "subscribe", "to": me}},
		{Tag: "chatstate", Attrs: waBinary.Attrs{"to": group}},
	} {
		data, err := waBinary.Marshal(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, true)
		f.Add(data, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, linked bool) {
		n, err := decode(data)
		if err != nil {
			return
		}
		s := newServer()
		defer s.end()
		ss := &session{server: s, cancel: func() {}, wake: make(chan struct{}, 1)}
		for _, number := range []string{"4915100000001", "4915100000002"} {
			a := s.add(number, "Name")
			a.devices = []*device{{account: a}, {account: a, id: 1}}
			if linked {
				ss.dev, a.devices[1].session = a.devices[1], ss
			}
		}
		for range 2 {
			if err := ss.take(n); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range ss.out {
			if _, err := waBinary.Marshal(*o.node); err != nil {
				t.Errorf("an answer that cannot be written: %v", err)
			}
		}
	})
}
