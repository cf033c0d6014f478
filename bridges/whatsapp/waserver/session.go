//go:build !nowhatsapp

package waserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/coder/websocket"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/waserver/noise"
	"mimigate/bridges/whatsapp/waserver/stanza"
)

// session is one connection. All but conn and socket is guarded by the server's mutex.
type session struct {
	server *Server
	socket *websocket.Conn
	conn   *noise.Conn
	cancel context.CancelFunc
	wake   chan struct{} // one place: there is something in out
	out    []outgoing
	ended  bool    // nothing goes out any more
	active bool    // stanzas of the queue may go out
	dev    *device // nil before login
	linked *device // what an unlinked connection is about to become
}

// outgoing is a stanza on its way out; the one without a stanza closes the connection.
type outgoing struct {
	node   *waBinary.Node
	linger bool // closing waits a little
}

// linger is how long a connection stays open after its last stanza: whatsmeow may drop what it has not handled when the
// connection ends, and goes first itself after most of what ends one.
const linger = 100 * time.Millisecond

// messages makes a websocket a noise.Messages.
type messages struct{ *websocket.Conn }

// Read implements noise.Messages.
func (m messages) Read(ctx context.Context) ([]byte, error) {
	_, data, err := m.Conn.Read(ctx)
	return data, err
}

// Write implements noise.Messages.
func (m messages) Write(ctx context.Context, message []byte) error {
	return m.Conn.Write(ctx, websocket.MessageBinary, message)
}

// errEnded says that the server ended a connection on purpose.
var errEnded = errors.New("waserver: connection ended")

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.down || s.ctx.Err() != nil {
		s.mu.Unlock()
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // Origin is web.whatsapp.com's
	if err != nil {
		return
	}
	defer socket.CloseNow()
	socket.SetReadLimit(1 << 24)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	ss := &session{server: s, socket: socket, cancel: cancel, wake: make(chan struct{}, 1)}
	s.mu.Lock()
	s.sessions[ss] = true
	s.mu.Unlock()
	_ = ss.run(ctx) // what ended it is the client's to notice
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
	ss.ended = true
	if ss.dev != nil && ss.dev.session == ss {
		ss.dev.session = nil
		ss.dev.setAvailable(false)
	}
	s.change()
}

// run does the handshake, lets the client in or not, and then takes stanzas until the connection ends.
func (ss *session) run(ctx context.Context) error {
	greet, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	conn, err := noise.Accept(greet, messages{ss.socket}, ss.server.identity)
	if err != nil {
		return err
	}
	ss.conn = conn
	written := make(chan struct{})
	go func() {
		defer close(written)
		ss.write(ctx)
	}()
	defer func() { <-written }()
	defer ss.cancel()
	ss.server.mu.Lock()
	err = ss.enter()
	ss.server.mu.Unlock()
	for err == nil {
		var node *waBinary.Node
		if node, err = ss.read(ctx); err == nil {
			err = ss.take(node)
		}
	}
	if errors.Is(err, errEnded) {
		<-written // what was said last is still written
	}
	return err
}

// read waits for the next stanza.
func (ss *session) read(ctx context.Context) (*waBinary.Node, error) {
	frame, err := ss.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	return decode(frame)
}

// decode reads a stanza from a frame. whatsmeow's decoder panics at some of what is none.
func decode(frame []byte) (n *waBinary.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			n, err = nil, fmt.Errorf("waserver: stanza: %v", p)
		}
	}()
	plain, err := waBinary.Unpack(frame)
	if err != nil {
		return nil, fmt.Errorf("waserver: frame: %w", err)
	}
	if n, err = waBinary.Unmarshal(plain); err != nil {
		return nil, fmt.Errorf("waserver: stanza: %w", err)
	}
	return n, nil
}

// write is the only one to write, in order, until the connection ends.
func (ss *session) write(ctx context.Context) {
	defer ss.cancel()
	for {
		ss.server.mu.Lock()
		batch := ss.out
		ss.out = nil
		ss.server.mu.Unlock()
		for _, o := range batch {
			if o.node == nil {
				if o.linger {
					select {
					case <-time.After(linger):
					case <-ctx.Done():
					}
				}
				_ = ss.socket.Close(websocket.StatusNormalClosure, "")
				return
			}
			data, err := waBinary.Marshal(*o.node)
			if err != nil || ss.conn.Write(ctx, data) != nil {
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-ss.wake:
		case <-ctx.Done():
			return
		}
	}
}

// push puts a stanza behind those that wait to be written. The server is locked.
func (ss *session) push(node *waBinary.Node) { ss.enqueue(outgoing{node: node}) }

// end closes the connection after what was said, and what the client then still says is not heard. The server is locked.
func (ss *session) end() { ss.enqueue(outgoing{linger: true}) }

func (ss *session) enqueue(o outgoing) {
	if ss.ended {
		return
	}
	ss.out = append(ss.out, o)
	ss.ended = o.node == nil
	select {
	case ss.wake <- struct{}{}:
	default:
	}
}

// cut breaks the connection off, whatever was still to be written. The server is locked.
func (ss *session) cut() {
	ss.ended = true
	ss.cancel()
}

// enter decides on a client after its handshake: it begins to link it, logs it in, or refuses it. The server is locked.
func (ss *session) enter() error {
	s, payload := ss.server, ss.conn.Payload
	app := payload.GetUserAgent().GetAppVersion()
	version := store.WAVersionContainer{app.GetPrimary(), app.GetSecondary(), app.GetTertiary()}
	number := strconv.FormatUint(payload.GetUsername(), 10)
	failure, refused := s.refused[number]
	switch {
	case version.LessThan(s.version):
		return ss.fail(Outdated())
	case payload.GetDevicePairingData() != nil:
		ss.offer()
		return nil
	case refused:
		return ss.fail(failure)
	}
	d := s.device(types.JID{User: number, Device: uint16(payload.GetDevice()), Server: types.DefaultUserServer})
	if d == nil || !bytes.Equal(d.noise, ss.conn.Client) {
		return ss.fail(Failure{Reason: 401})
	}
	if d.session != nil {
		d.session.push(streamError("", "replaced"))
		d.session.end()
	}
	ss.dev, d.session = d, ss
	ss.send(waBinary.Node{Tag: "success", Attrs: waBinary.Attrs{
		"t": stanza.Now(), "lid": d.lid(), "props": "27", "location": "frc", "status": "200",
	}})
	s.change()
	return nil
}

// activate sends what waited for the device, and from now on what comes. The server is locked.
func (ss *session) activate() {
	if ss.dev == nil || ss.active {
		return
	}
	ss.active = true
	waiting := slices.Clone(ss.dev.queue)
	if len(waiting) > 0 {
		counts := map[string]int{}
		for _, n := range waiting {
			counts[n.Tag]++
		}
		ss.send(waBinary.Node{Tag: "ib", Attrs: waBinary.Attrs{"from": types.ServerJID}, Content: []waBinary.Node{{
			Tag: "offline_preview", Attrs: waBinary.Attrs{
				"count": len(waiting), "appdata": 0, "message": counts["message"], "notification": counts["notification"], "receipt": counts["receipt"],
			},
		}}})
	}
	for _, n := range waiting {
		ss.send(n)
	}
	ss.send(waBinary.Node{Tag: "ib", Attrs: waBinary.Attrs{"from": types.ServerJID}, Content: []waBinary.Node{{
		Tag: "offline", Attrs: waBinary.Attrs{"count": len(waiting)},
	}}})
	ss.server.change()
}

// deliver sends a device a stanza that it will acknowledge: now, or when it is next active. The server is locked.
func (d *device) deliver(n waBinary.Node) {
	d.queue = append(d.queue, n)
	if d.session != nil && d.session.active {
		d.session.send(n)
	}
	d.account.server.change()
}

// notify delivers a notification. The server is locked.
func (d *device) notify(from types.JID, kind string, attrs waBinary.Attrs, content ...waBinary.Node) {
	all := waBinary.Attrs{"from": from, "type": kind, "id": d.account.server.next(), "t": stanza.Now()}
	for k, v := range attrs {
		all[k] = v
	}
	d.deliver(waBinary.Node{Tag: "notification", Attrs: all, Content: content})
}

// acknowledged forgets the oldest stanza that an acknowledgement of the client is about. The server is locked.
func (d *device) acknowledged(class, id string, from, participant types.JID) {
	i := slices.IndexFunc(d.queue, func(n waBinary.Node) bool {
		return n.Tag == class && stanza.String(&n, "id") == id && stanza.JID(&n, "from") == from && stanza.JID(&n, "participant") == participant
	})
	if i >= 0 {
		d.queue = slices.Delete(d.queue, i, i+1)
		d.account.server.change()
	}
}

// Failure is why a login is refused.
type Failure struct {
	// Reason is an events.ConnectFailureReason: 401 logged out, 402 temporary ban, 403 banned, 405 outdated, 503 …
	Reason int
	// Code and Expire tell more of a temporary ban: an events.TempBanReason, and how long it lasts.
	Code   int
	Expire time.Duration
}

// Outdated is the refusal of a client that is too old.
func Outdated() Failure { return Failure{Reason: 405} }

// Banned is the refusal of an account that is banned for a time; code is an events.TempBanReason.
func Banned(code int, expire time.Duration) Failure {
	return Failure{Reason: 402, Code: code, Expire: expire}
}

// fail refuses a login and ends the connection. The server is locked.
func (ss *session) fail(f Failure) error {
	attrs := waBinary.Attrs{"reason": f.Reason, "location": "frc"}
	if f.Code != 0 {
		attrs["code"], attrs["expire"] = f.Code, int(f.Expire.Seconds())
	}
	ss.push(&waBinary.Node{Tag: "failure", Attrs: attrs})
	ss.end()
	return errEnded
}

// Refuse refuses the logins of a number, its phone's too, and cuts its linked devices' connections, until Admit.
func (s *Server) Refuse(number string, f Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[number] = f
	for _, d := range s.linked(number) {
		if d.session != nil {
			d.session.cut()
		}
	}
}

// Admit ends Refuse.
func (s *Server) Admit(number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused, number)
}

// streamError is what the server says before it ends a connection.
func streamError(code, conflict string) *waBinary.Node {
	n := &waBinary.Node{Tag: "stream:error", Attrs: waBinary.Attrs{}}
	if code != "" {
		n.Attrs["code"] = code
	}
	if conflict != "" {
		n.Content = []waBinary.Node{{Tag: "conflict", Attrs: waBinary.Attrs{"type": conflict}}}
	}
	return n
}

// LogOut unlinks every linked device of a number, as its phone or WhatsApp may do.
func (s *Server) LogOut(number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.linked(number) {
		s.unlink(d)
	}
}

// unlink removes a linked device and tells it and the others. The server is locked.
func (s *Server) unlink(d *device) {
	a := d.account
	a.devices = slices.DeleteFunc(a.devices, func(x *device) bool { return x == d })
	if d.session != nil {
		d.session.push(streamError("401", "device_removed"))
		d.session.end()
	}
	a.devicesChanged("remove", d)
	s.change()
}

// Replace tells the linked devices of a number that they logged in elsewhere, and ends their connections.
func (s *Server) Replace(number string) { s.kick(number, streamError("", "replaced")) }

// Restart ends the connections of the linked devices of a number as a server that restarts does (503).
func (s *Server) Restart(number string) { s.kick(number, streamError("503", "")) }

// Drop cuts the connections of the linked devices of a number without a word.
func (s *Server) Drop(number string) { s.kick(number, nil) }

func (s *Server) kick(number string, last *waBinary.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.linked(number) {
		switch {
		case d.session == nil:
		case last == nil:
			d.session.cut()
		default:
			d.session.push(last)
			d.session.end()
		}
	}
}
