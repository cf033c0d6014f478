//go:build !nowhatsapp

package waserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// maxMedia is the largest upload in octets; more is refused with 413.
const maxMedia = 64 << 20

// auth is what media uploads authenticate with.
const auth = "media auth"

// mediaHosts tells a client where media goes.
func mediaHosts() waBinary.Node {
	return waBinary.Node{Tag: "media_conn", Attrs: waBinary.Attrs{"auth": auth, "ttl": 3600, "auth_ttl": 3600, "max_buckets": 12},
		Content: []waBinary.Node{{Tag: "host", Attrs: waBinary.Attrs{"hostname": "mmg.whatsapp.net"}}}}
}

// serveUpload takes what a client encrypted and names by its hash.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxMedia+1))
	switch {
	case err != nil:
		http.Error(w, "read", http.StatusBadRequest)
		return
	case len(body) > maxMedia:
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	case r.URL.Query().Get("auth") != auth:
		http.Error(w, "auth", http.StatusUnauthorized)
		return
	}
	if sum := sha256.Sum256(body); r.PathValue("token") != base64.URLEncoding.EncodeToString(sum[:]) {
		http.Error(w, "hash", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	path := s.store(body)
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]string{"url": "https://mmg.whatsapp.net" + path, "direct_path": path}) // the client notices
}

// store keeps media and returns its path, to which a client adds parameters. The server is locked.
func (s *Server) store(body []byte) string {
	path := "/v/" + s.next() + ".enc"
	s.media[path] = body
	return path + "?ccb=11-4"
}

func (s *Server) serveDownload(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body, ok := s.media[r.URL.Path]
	s.mu.Unlock()
	if !ok {
		http.Error(w, "gone", http.StatusGone)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func (s *Server) serveDelete(w http.ResponseWriter, r *http.Request) {
	path, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("d_md"))
	if err != nil {
		http.Error(w, "path", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.media, string(path))
}

// ExpireMedia forgets all media: who downloads it gets 410, and who asks the sender's phone for it anew is told that it is
// not there.
func (s *Server) ExpireMedia() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.media)
}

// mediaRetry answers who asks for expired media: no phone here has it any more. The server is locked.
func (ss *session) mediaRetry(n *waBinary.Node) {
	ss.dev.deliver(waBinary.Node{Tag: "notification", Attrs: waBinary.Attrs{
		"from": ss.dev.account.pn, "type": "mediaretry", "id": n.Attrs["id"], "t": now(),
	}, Content: []waBinary.Node{child(n, "rmr"), {Tag: "error", Attrs: waBinary.Attrs{"code": 2}}}})
}

// picture is a person's or a group's; the zero value is none.
type picture struct {
	id, path string
}

// picture gets or sets a picture. The server is locked.
func (ss *session) picture(n *waBinary.Node) {
	s, target := ss.server, jid(n, "target")
	p, tell := &ss.dev.account.picture, ss.dev.account.tellPicture
	if g := s.groups[target.User]; target.Server == types.GroupServer {
		if g.member(ss.dev.account) == nil {
			ss.refuse(n, 401)
			return
		}
		p, tell = &g.picture, func(change waBinary.Node) { g.tellPicture(ss.dev, change) }
	} else if a := s.find(target); a != nil {
		p = &a.picture
	} else if !target.IsEmpty() {
		ss.refuse(n, 404)
		return
	}
	asked := child(n, "picture")
	switch {
	case str(n, "type") == "set" && !target.IsEmpty() && target.Server != types.GroupServer && s.find(target) != ss.dev.account:
		ss.refuse(n, 403)
	case str(n, "type") == "set" && asked.Tag == "":
		*p = picture{}
		ss.result(n)
		tell(waBinary.Node{Tag: "delete", Attrs: waBinary.Attrs{}})
	case str(n, "type") == "set":
		if len(data(asked)) == 0 {
			ss.refuse(n, 406)
			return
		}
		*p = picture{path: s.store(data(asked)), id: s.next()}
		ss.result(n, waBinary.Node{Tag: "picture", Attrs: waBinary.Attrs{"id": p.id}})
		tell(waBinary.Node{Tag: "set", Attrs: waBinary.Attrs{"id": p.id}})
	case p.id == "":
		ss.refuse(n, 404)
	case str(&asked, "id") == p.id:
		ss.result(n) // not changed
	default:
		ss.result(n, waBinary.Node{Tag: "picture", Attrs: waBinary.Attrs{
			"id": p.id, "type": str(&asked, "type"), "url": "https://pps.whatsapp.net" + p.path, "direct_path": p.path,
		}})
	}
}

// tellPicture tells those who know a person that their picture changed.
func (a *account) tellPicture(change waBinary.Node) {
	change.Attrs["jid"] = a.lid
	for _, w := range a.server.accounts {
		if !a.watchers[w] {
			continue
		}
		for _, d := range w.devices {
			d.notify(a.lid, "picture", nil, change)
		}
	}
}

// tellPicture tells the members of a group that its picture changed.
func (g *group) tellPicture(by *device, change waBinary.Node) {
	change.Attrs["jid"], change.Attrs["author"] = g.jid, g.of(by.account)
	for _, m := range g.members {
		for _, d := range m.account.devices {
			d.notify(g.jid, "picture", nil, change)
		}
	}
}
