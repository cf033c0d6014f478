//go:build !nowhatsapp

package collections_test

import (
	"testing"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver/collections"
	"mimigate/bridges/whatsapp/waserver/stanza"
)

func request(version string, patch []byte) *waBinary.Node {
	n := &waBinary.Node{Tag: "collection", Attrs: waBinary.Attrs{"name": "regular", "version": version}}
	if patch != nil {
		n.Content = []waBinary.Node{{Tag: "patch", Content: patch}}
	}
	return n
}

// versions are those of the patches in an answer.
func versions(t *testing.T, answer waBinary.Node) []uint64 {
	t.Helper()
	var list []uint64
	patches := stanza.Child(&answer, "patches")
	for _, c := range patches.GetChildren() {
		var p waServerSync.SyncdPatch
		if err := proto.Unmarshal(stanza.Data(c), &p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p.GetVersion().GetVersion())
	}
	return list
}

func TestSync(t *testing.T) {
	s := collections.State{}
	patch, err := proto.Marshal(&waServerSync.SyncdPatch{SnapshotMAC: []byte("mac")})
	if err != nil {
		t.Fatal(err)
	}
	for i, version := range []string{"0", "1"} {
		if answer, grown := s.Sync(request(version, patch)); grown != i+1 || answer.Attrs["type"] != nil {
			t.Fatalf("patch %d: %v, %v", i+1, grown, answer)
		}
	}
	// Who patches an old version is refused, and gets what it lacks.
	answer, grown := s.Sync(request("1", patch))
	refused := stanza.Child(&answer, "error")
	if v := versions(t, answer); grown != 0 || answer.Attrs["type"] != "error" || refused.Attrs["code"] != 409 || len(v) != 1 || v[0] != 2 {
		t.Errorf("conflict: %v, %v, %v", grown, answer, v)
	}
	if answer, grown := s.Sync(request("2", []byte{0xff})); grown != 0 || answer.Attrs["type"] != "error" {
		t.Errorf("a patch that is none: %v, %v", grown, answer)
	}
	for range 30 {
		s["regular"] = append(s["regular"], s["regular"][0])
	}
	answer, _ = s.Sync(request("", nil))
	if v := versions(t, answer); len(v) != 20 || answer.Attrs["has_more_patches"] != true || answer.Attrs["version"] != 20 {
		t.Errorf("%d patches, %v", len(v), answer.Attrs)
	}
	answer, _ = s.Sync(request("20", nil))
	if v := versions(t, answer); len(v) != 12 || answer.Attrs["has_more_patches"] != false {
		t.Errorf("%d patches, %v", len(v), answer.Attrs)
	}
	for _, version := range []string{"-5", "99", "x"} {
		if answer, _ := s.Sync(request(version, nil)); answer.Tag != "collection" {
			t.Errorf("version %s: %v", version, answer)
		}
	}
}
