//go:build !nowhatsapp

package waserver

import (
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"google.golang.org/protobuf/proto"
)

// maxPatches is how many patches of app state one answer carries; the client then asks for more.
const maxPatches = 20

// appState keeps what an account's devices tell each other of its settings, chats and contacts: encrypted patches, which
// the server only numbers. There are no snapshots: who asks for one gets all patches. The server is locked.
func (ss *session) appState(n *waBinary.Node) {
	a := ss.dev.account
	sync := child(n, "sync")
	var answer []waBinary.Node
	for _, c := range sync.GetChildrenByTag("collection") {
		name := str(&c, "name")
		have, _ := strconv.Atoi(str(&c, "version"))
		stored := a.state[name]
		attrs := waBinary.Attrs{"name": name}
		var content []waBinary.Node
		if patch := data(child(&c, "patch")); patch == nil {
			// only a question
		} else if numbered, err := numbered(patch, len(stored)+1); have != len(stored) || err != nil {
			code := 409
			if err != nil {
				code = 400
			}
			attrs["type"] = "error"
			content = append(content, waBinary.Node{Tag: "error", Attrs: waBinary.Attrs{"code": code, "text": reasons[code]}})
		} else {
			stored = append(stored, numbered)
			a.state[name] = stored
			have = len(stored)
			ss.tellState(name, have)
		}
		news := stored[min(max(have, 0), len(stored)):]
		attrs["has_more_patches"] = len(news) > maxPatches
		news = news[:min(len(news), maxPatches)]
		attrs["version"] = have + len(news)
		var patches []waBinary.Node
		for _, p := range news {
			patches = append(patches, waBinary.Node{Tag: "patch", Content: p})
		}
		if len(patches) > 0 {
			content = append(content, waBinary.Node{Tag: "patches", Content: patches})
		}
		answer = append(answer, waBinary.Node{Tag: "collection", Attrs: attrs, Content: content})
	}
	ss.result(n, waBinary.Node{Tag: "sync", Content: answer})
}

// tellState tells the account's other devices that a collection has a new version.
func (ss *session) tellState(name string, version int) {
	for _, d := range ss.dev.account.devices {
		if d != ss.dev {
			d.notify(ss.dev.account.pn, "server_sync", nil, waBinary.Node{Tag: "collection", Attrs: waBinary.Attrs{"name": name, "version": version}})
		}
	}
}

// numbered writes its version into a patch, which its author has reckoned with but not written.
func numbered(patch []byte, version int) ([]byte, error) {
	var p waServerSync.SyncdPatch
	if err := proto.Unmarshal(patch, &p); err != nil {
		return nil, err
	}
	p.Version = &waServerSync.SyncdVersion{Version: proto.Uint64(uint64(version))}
	return proto.Marshal(&p)
}
