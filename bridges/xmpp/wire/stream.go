package wire

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
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
	// PingAfter is how long a connection, or a room, may be silent before it is asked for a sign of life (XEP-0199, XEP-0410).
	PingAfter = 45 * time.Second
)

// Stream is one connection. It writes one stanza after the other, and pairs questions (IQ get and set) with their answers.
// Whoever made it calls Serve.
type Stream struct {
	// Me is the full JID of the account.
	Me string

	session *xmpp.Session
	conn    *meteredConn
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
	stanza *Node
	state  atomic.Int32 // 0 waiting, 1 being written, 2 given up
	done   chan error
}

// question is an IQ that waits for its answer from to.
type question struct {
	to     string
	answer chan *Node
}

// ErrAuth: the server refuses the password, or every way to prove that we know it.
var ErrAuth = errors.New("not authenticated")

// ErrEnded: the connection ended before it was known what became of a stanza.
var ErrEnded = errors.New("the connection ended")

// meteredConn notes when it last read something, and fails once a stanza is larger than maxStanza.
type meteredConn struct {
	net.Conn
	ack    func()
	last   atomic.Int64 // UNIX nanoseconds
	budget atomic.Int64
}

var errTooLarge = errors.New("the server sent a stanza of more than 8 MiB")

// Read implements net.Conn.
func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.ack()
		c.last.Store(time.Now().UnixNano())
		if c.budget.Add(-int64(n)) < 0 {
			return n, errTooLarge
		}
	}
	return n, err
}

// Options say whom to connect to, and as whom.
type Options struct {
	Component bool
	Addr      jid.JID // a component's domain, or a client's bare JID
	Secret    string
	Address   string         // host:port; empty (client): found by the JID
	Plaintext bool           // client: without TLS, which the configuration allows on loopback only
	Roots     *x509.CertPool // client: nil is the system's
	Resource  string         // client: the resource to ask for
	Me        string         // component: the full JID of the account
}

// Dial connects and authenticates, within 30 s. Errors of the server are those of mellium.im/xmpp/stream.
func Dial(ctx context.Context, o Options) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	raw, err := o.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &meteredConn{Conn: raw, ack: quickAck(raw)}
	conn.budget.Store(maxStanza)
	conn.last.Store(time.Now().UnixNano())
	session, err := o.negotiate(ctx, conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s := &Stream{Me: o.Me, session: session, conn: conn, domain: o.Addr.Domainpart(), pinged: o.Me,
		out: make(chan *parcel, queued), ended: make(chan struct{}), asked: map[string]*question{}}
	if !o.Component {
		s.Me, s.pinged = session.LocalAddr().String(), s.domain
	}
	return s, nil
}

func (o Options) connect(ctx context.Context) (net.Conn, error) {
	if o.Address != "" {
		return new(net.Dialer).DialContext(ctx, "tcp", o.Address)
	}
	d := dial.Dialer{TLSConfig: o.tlsConfig()}
	return d.Dial(ctx, "tcp", o.Addr)
}

func (o Options) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: o.Addr.Domainpart(), RootCAs: o.Roots, MinVersion: tls.VersionTLS12}
}

// negotiate opens the stream. The library is given a context that does not end: when one ends just after it has succeeded, it
// may still break the connection.
func (o Options) negotiate(ctx context.Context, conn *meteredConn) (*xmpp.Session, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	var session *xmpp.Session
	var err error
	if o.Component {
		session, err = component.NewSession(context.WithoutCancel(ctx), o.Addr, []byte(o.Secret), conn)
	} else {
		session, err = o.login(context.WithoutCancel(ctx), conn)
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return session, err
}

// login opens a client's stream (RFC 6120 §5–§7). Without TLS only mechanisms that do not show the password are used.
func (o Options) login(ctx context.Context, conn *meteredConn) (*xmpp.Session, error) {
	origin, err := o.Addr.WithResource(o.Resource)
	if err != nil {
		return nil, err
	}
	state := xmpp.SessionState(0)
	mechanisms := []sasl.Mechanism{sasl.ScramSha256, sasl.ScramSha1}
	features := []xmpp.StreamFeature{}
	switch _, encrypted := conn.Conn.(*tls.Conn); {
	case o.Plaintext || encrypted: // xmpp.SASL asks for Secure
		state = xmpp.Secure
	default:
		features = append(features, xmpp.StartTLS(o.tlsConfig()))
	}
	if !o.Plaintext {
		mechanisms = append(mechanisms, sasl.Plain)
	}
	features = append(features, authentication(o.Secret, mechanisms), xmpp.BindResource())
	config := func(*xmpp.Session, *xmpp.StreamConfig) xmpp.StreamConfig {
		return xmpp.StreamConfig{Features: features}
	}
	return xmpp.NewSession(ctx, origin.Domain(), origin, conn, state, xmpp.NewNegotiator(config))
}

// Serve writes and reads until the connection ends, and gives every stanza that is no answer to handle, one after the other.
// What handle returns is written in answer.
func (s *Stream) Serve(handle func(*Node) *Node, skip func(start *xml.StartElement) bool) error {
	var writing sync.WaitGroup
	writing.Go(s.write)
	err := s.session.Serve(xmpp.HandlerFunc(func(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
		defer s.conn.budget.Store(maxStanza)
		if skip(start) {
			return nil
		}
		n, err := Read(t, *start)
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
	s.Close()
	writing.Wait()
	if err == nil {
		err = ErrEnded
	}
	return err
}

// Close ends the connection at once. It may be repeated.
func (s *Stream) Close() {
	s.once.Do(func() {
		close(s.ended)
		_ = s.conn.Close()
	})
}

// authentication is SASL whose refusals wrap ErrAuth: the library's own type is internal to it.
func authentication(secret string, mechanisms []sasl.Mechanism) xmpp.StreamFeature {
	f := xmpp.SASL("", secret, mechanisms...)
	negotiate := f.Negotiate
	f.Negotiate = func(ctx context.Context, s *xmpp.Session, data interface{}) (xmpp.SessionState, io.ReadWriter, error) {
		mask, rw, err := negotiate(ctx, s, data)
		var network net.Error
		if err != nil && !errors.As(err, &network) && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "temporary-auth-failure") {
			err = fmt.Errorf("%w: %w", ErrAuth, err)
		}
		return mask, rw, err
	}
	return f
}

// Ended is closed when the connection has ended.
func (s *Stream) Ended() <-chan struct{} { return s.ended }

func (s *Stream) write() {
	for {
		select {
		case <-s.ended:
			return
		case p := <-s.out:
			if !p.state.CompareAndSwap(0, 1) {
				continue
			}
			_ = s.conn.SetWriteDeadline(time.Now().Add(writeWithin))
			err := s.session.Send(context.Background(), p.stanza.Reader())
			p.done <- err
			if err != nil {
				s.Close()
				return
			}
		}
	}
}

// Send writes a stanza and returns when it is written. An error that wraps adapter.ErrNotDelivered says that it was not.
func (s *Stream) Send(ctx context.Context, n *Node) error {
	p := &parcel{stanza: n, done: make(chan error, 1)}
	select {
	case s.out <- p:
	case <-s.ended:
		return adapter.NotDelivered(ErrEnded)
	case <-ctx.Done():
		return adapter.NotDelivered(ctx.Err())
	}
	var err error
	select {
	case err := <-p.done:
		return err
	case <-s.ended:
		err = ErrEnded
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

// Post writes a stanza some time, without waiting. A server that lets too many pile up loses the connection.
func (s *Stream) Post(n *Node) {
	select {
	case s.out <- &parcel{stanza: n, done: make(chan error, 1)}:
	default:
		s.Close()
	}
}

// Ask sends an IQ from one of our names and waits for the answer. An answer of type error is a *StanzaError.
func (s *Stream) Ask(ctx context.Context, from, to, kind string, payload *Node) (*Node, error) {
	id := rand.Text()
	q := &question{to: to, answer: make(chan *Node, 1)}
	s.mu.Lock()
	s.asked[id] = q
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.asked, id)
		s.mu.Unlock()
	}()
	if err := s.Send(ctx, El("", "iq", payload).With("type", kind).With("id", id).With("from", from).With("to", to)); err != nil {
		return nil, err
	}
	select {
	case n := <-q.answer:
		if n.Attr("type") == "error" {
			return nil, ErrorOf(n)
		}
		return n, nil
	case <-s.ended:
		return nil, ErrEnded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Sync returns when the server has taken all that was sent before: a ping after it has come back.
func (s *Stream) Sync(ctx context.Context) error {
	_, err := s.Ask(ctx, s.Me, s.pinged, "get", El(NSPing, "ping"))
	if _, answered := AsError(err); answered {
		return nil // a server that does not know pings has answered, too
	}
	return err
}

// answered takes a stanza that answers a question: from whom it was asked, so that nobody can answer for another.
func (s *Stream) answered(n *Node) bool {
	if n.Name.Local != "iq" || n.Attr("type") != "result" && n.Attr("type") != "error" {
		return false
	}
	s.mu.Lock()
	q := s.asked[n.Attr("id")]
	s.mu.Unlock()
	from := n.Attr("from")
	if q == nil || from != q.to && !(from == "" && (q.to == s.domain || q.to == Bare(s.Me))) {
		return true // nobody waits for it any more
	}
	select {
	case q.answer <- n:
	default:
	}
	return true
}

// Alive asks the server for a sign of life if it has been silent, and ends the connection if there is none.
func (s *Stream) Alive(now time.Time) {
	switch silent := now.Sub(time.Unix(0, s.conn.last.Load())); {
	case silent > 3*PingAfter:
		s.Close()
	case silent > PingAfter:
		s.Post(El("", "iq", El(NSPing, "ping")).With("type", "get").With("id", "alive").With("from", s.Me).With("to", s.pinged))
	}
}
