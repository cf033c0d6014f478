package xmpp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/sasl"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/component"
	"mellium.im/xmpp/dial"
	"mellium.im/xmpp/jid"

	"mimigate/core/adapter"
)

const (
	dialWithin  = 30 * time.Second
	writeWithin = 60 * time.Second // a stanza that the server has not taken by then ends the connection
	queued      = 4096             // stanzas that wait to be written without anybody waiting for them
)

// stream is one connection. It writes one stanza after the other, and pairs questions (IQ get and set) with their answers.
// Whoever made it calls serve, then close.
type stream struct {
	session *xmpp.Session
	conn    *meteredConn
	me      string // full JID of the account
	domain  string
	// pinged is who answers pings through the server: the server, or for a component, which does not know the server's name,
	// we ourselves.
	pinged string

	out   chan *parcel
	ended chan struct{} // closed when nothing is written any more
	once  sync.Once

	mu    sync.Mutex
	asked map[string]*question // by id
}

// parcel is a stanza to be written.
type parcel struct {
	stanza *node
	state  atomic.Int32 // 0 waiting, 1 being written, 2 given up
	done   chan error
}

// question is an IQ that waits for its answer from to.
type question struct {
	to     string
	answer chan *node
}

var errStreamEnded = errors.New("the connection ended")

// meteredConn notes when it last read something, and fails once a stanza is larger than maxStanza.
type meteredConn struct {
	net.Conn
	last   atomic.Int64 // UNIX nanoseconds
	budget atomic.Int64
}

var errTooLarge = errors.New("the server sent a stanza of more than 8 MiB")

// Read implements net.Conn.
func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.last.Store(time.Now().UnixNano())
		if c.budget.Add(-int64(n)) < 0 {
			return n, errTooLarge
		}
	}
	return n, err
}

// dial connects and authenticates.
func (a *Adapter) dial(ctx context.Context) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	raw, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &meteredConn{Conn: raw}
	conn.budget.Store(maxStanza)
	conn.last.Store(time.Now().UnixNano())
	var session *xmpp.Session
	if a.component {
		session, err = component.NewSession(ctx, a.addr, []byte(a.cfg.Password.Reveal()), conn)
	} else {
		session, err = a.clientSession(ctx, conn)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	me, pinged := session.LocalAddr().String(), a.domain
	if a.component {
		me = a.self + "/" + resource
		pinged = me
	}
	return &stream{session: session, conn: conn, me: me, domain: a.domain, pinged: pinged, out: make(chan *parcel, queued),
		ended: make(chan struct{}), asked: map[string]*question{}}, nil
}

func (a *Adapter) connect(ctx context.Context) (net.Conn, error) {
	if a.cfg.Address != "" {
		return new(net.Dialer).DialContext(ctx, "tcp", a.cfg.Address)
	}
	d := dial.Dialer{TLSConfig: a.tlsConfig()}
	return d.Dial(ctx, "tcp", a.addr)
}

func (a *Adapter) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: a.domain, RootCAs: a.roots, MinVersion: tls.VersionTLS12}
}

// clientSession logs in (RFC 6120 §5–§7). Without TLS only mechanisms that do not show the password are used.
func (a *Adapter) clientSession(ctx context.Context, conn *meteredConn) (*xmpp.Session, error) {
	origin, err := a.addr.WithResource(resource + "-" + a.account.ID)
	if err != nil {
		origin = a.addr
	}
	state := xmpp.SessionState(0)
	mechanisms := []sasl.Mechanism{sasl.ScramSha256, sasl.ScramSha1}
	features := []xmpp.StreamFeature{}
	switch _, direct := conn.Conn.(*tls.Conn); {
	case a.cfg.Plaintext || direct: // xmpp.SASL asks for Secure; plaintext is on loopback, which checkAddress has seen to
		state = xmpp.Secure
	default:
		features = append(features, xmpp.StartTLS(a.tlsConfig()))
	}
	if !a.cfg.Plaintext {
		mechanisms = append(mechanisms, sasl.Plain)
	}
	features = append(features, xmpp.SASL("", a.cfg.Password.Reveal(), mechanisms...), xmpp.BindResource())
	return xmpp.NewSession(ctx, origin.Domain(), origin, conn, state, xmpp.NewNegotiator(
		func(*xmpp.Session, *xmpp.StreamConfig) xmpp.StreamConfig {
			return xmpp.StreamConfig{Features: features}
		}))
}

// serve writes and reads until the connection ends, and gives every stanza that is no answer to handle, one after the other.
// What handle returns is written in answer.
func (s *stream) serve(handle func(*node) *node, skip func(start *xml.StartElement) bool) error {
	var writing sync.WaitGroup
	writing.Go(s.write)
	err := s.session.Serve(xmpp.HandlerFunc(func(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
		defer s.conn.budget.Store(maxStanza)
		if skip(start) {
			return nil
		}
		n, err := readNode(t, *start)
		if errors.Is(err, errOdd) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.answered(n) {
			return nil
		}
		if reply := handle(n); reply != nil {
			for _, tok := range reply.tokens(nil) {
				if err := t.EncodeToken(tok); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	s.close()
	writing.Wait()
	if err == nil {
		err = errStreamEnded
	}
	return err
}

// close ends the connection at once. It may be repeated.
func (s *stream) close() {
	s.once.Do(func() {
		close(s.ended)
		_ = s.conn.Close()
	})
}

func (s *stream) write() {
	for {
		select {
		case <-s.ended:
			return
		case p := <-s.out:
			if !p.state.CompareAndSwap(0, 1) {
				continue
			}
			_ = s.conn.SetWriteDeadline(time.Now().Add(writeWithin))
			err := s.session.Send(context.Background(), p.stanza.reader())
			p.done <- err
			if err != nil {
				s.close()
				return
			}
		}
	}
}

// send writes a stanza and returns when it is written. An error that wraps adapter.ErrNotDelivered says that it was not.
func (s *stream) send(ctx context.Context, n *node) error {
	p := &parcel{stanza: n, done: make(chan error, 1)}
	select {
	case s.out <- p:
	case <-s.ended:
		return adapter.NotDelivered(errStreamEnded)
	case <-ctx.Done():
		return adapter.NotDelivered(ctx.Err())
	}
	var err error
	select {
	case err := <-p.done:
		return err
	case <-s.ended:
		err = errStreamEnded
	case <-ctx.Done():
		err = ctx.Err()
	}
	if p.state.CompareAndSwap(0, 2) {
		return adapter.NotDelivered(err)
	}
	select {
	case written := <-p.done:
		return written
	default:
		return err
	}
}

// post writes a stanza some time, without waiting. A server that lets too many pile up loses the connection.
func (s *stream) post(n *node) {
	select {
	case s.out <- &parcel{stanza: n, done: make(chan error, 1)}:
	default:
		s.close()
	}
}

// ask sends an IQ from one of our names and waits for the answer. An answer of type error is a *stanzaError.
func (s *stream) ask(ctx context.Context, from, to, kind string, payload *node) (*node, error) {
	id := rand.Text()
	q := &question{to: to, answer: make(chan *node, 1)}
	s.mu.Lock()
	s.asked[id] = q
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.asked, id)
		s.mu.Unlock()
	}()
	if err := s.send(ctx, el("", "iq", payload).with("type", kind).with("id", id).with("from", from).with("to", to)); err != nil {
		return nil, err
	}
	select {
	case n := <-q.answer:
		if n.attr("type") == "error" {
			return nil, errorOf(n)
		}
		return n, nil
	case <-s.ended:
		return nil, errStreamEnded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answered takes a stanza that answers a question: from whom it was asked, so that nobody can answer for another.
func (s *stream) answered(n *node) bool {
	if n.name.Local != "iq" || n.attr("type") != "result" && n.attr("type") != "error" {
		return false
	}
	s.mu.Lock()
	q := s.asked[n.attr("id")]
	s.mu.Unlock()
	from := n.attr("from")
	if q == nil || from != q.to && !(from == "" && (q.to == s.domain || q.to == bare(s.me))) {
		return true // nobody waits for it any more
	}
	select {
	case q.answer <- n:
	default:
	}
	return true
}

// alive asks the server for a sign of life if it has been silent, and ends the connection if there is none.
func (s *stream) alive(now time.Time) {
	switch silent := now.Sub(time.Unix(0, s.conn.last.Load())); {
	case silent > 3*pingAfter:
		s.close()
	case silent > pingAfter:
		s.post(el("", "iq", el(nsPing, "ping")).with("type", "get").with("id", "alive").with("from", s.me).with("to", s.pinged))
	}
}

// addrOf parses an address that people wrote.
func addrOf(text string) (jid.JID, error) {
	j, err := jid.Parse(text)
	if err != nil {
		return jid.JID{}, fmt.Errorf("%w: %q is not an XMPP address: %w", adapter.ErrNotFound, text, err)
	}
	return j, nil
}
