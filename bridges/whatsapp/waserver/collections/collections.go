//go:build !nowhatsapp

// Package collections is WhatsApp's app state as its server keeps it: what an account's devices tell each other of their
// settings, chats and contacts, in collections of encrypted patches, which the server only numbers.
package collections

import (
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver/stanza"
)

// maxPatches is how many patches one answer carries; the client then asks for more.
const maxPatches = 20

// State is the app state of an account: the patches of each collection, of which the first makes version 1.
type State map[string][][]byte

// Sync answers a <collection> that a client sends: it takes the patch in it, unless that is not for the newest version
// (409), and gives the patches that the client lacks. There are no snapshots: who wants one gets all patches. grown is the
// new version where there is one, else 0.
func (s State) Sync(request *waBinary.Node) (answer waBinary.Node, grown int) {
	name, have := stanza.String(request, "name"), max(stanza.Int(request, "version"), 0)
	attrs := waBinary.Attrs{"name": name}
	var content []waBinary.Node
	if patch := stanza.Data(stanza.Child(request, "patch")); patch != nil {
		patch, err := numbered(patch, len(s[name])+1)
		switch {
		case err != nil:
			attrs["type"], content = "error", append(content, stanza.Error(400))
		case have != len(s[name]):
			attrs["type"], content = "error", append(content, stanza.Error(409))
		default:
			s[name] = append(s[name], patch)
			have = len(s[name])
			grown = have
		}
	}
	news := s[name][min(have, len(s[name])):]
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
	return waBinary.Node{Tag: "collection", Attrs: attrs, Content: content}, grown
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
