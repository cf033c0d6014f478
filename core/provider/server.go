package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"net/mail"
	"strconv"
	"strings"
	"sync"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/provider/trust"
	"mimigate/core/uri"
)

// Trust knows our peers.
type Trust interface {
	// Roots returns what a peer's certificate must descend from (nil: what the operating system trusts), and whether it is a peer.
	Roots(peer uri.Provider) (*x509.CertPool, bool)
}

// ServerOptions are what a Server needs.
type ServerOptions struct {
	Provider uri.Provider
	// Endpoints answer; they are called outside of units of work, with the provider that mutual TLS has proved.
	Endpoints Endpoints
	// URL is where others reach the server: what the directory is made of.
	URL         string
	Trust       Trust
	Certificate func() (*tls.Certificate, error)
	Limits      Limits // zero: DefaultLimits
	// Observe hears of each request once it is answered; nil: nobody.
	Observe func(Request)
	Now     func() time.Time
	Log     *slog.Logger
}

// Request is a request that was answered.
type Request struct {
	Peer     uri.Provider // zero: one that was not recognised
	Endpoint Endpoint     // "" for anything that is no endpoint
	Status   int          // of HTTP
	Took     time.Duration
}

// Server answers other providers: HTTPS with mutual TLS (mimi-protocol-06 §5). Who asks is the provider in the From header, once the
// certificate of the connection speaks for it; the directory alone is for everybody.
type Server struct {
	ServerOptions
	endpoints map[Endpoint]endpoint
	directory []byte
	meter     *meter
	http      *http.Server

	mu     sync.Mutex
	counts map[Count]int64
}

// Count is what the server counts: answers to a peer, zero for those not recognised, by their HTTP status.
type Count struct {
	Peer   uri.Provider
	Status int
}

// NewServer returns a server, which serves nothing yet.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	s := &Server{ServerOptions: o, meter: newMeter(o.Limits, o.Now), counts: make(map[Count]int64)}
	s.endpoints = s.table()
	var err error
	if s.directory, err = json.MarshalIndent(NewDirectory(o.URL), "", "  "); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		HTTP2:             &http.HTTP2Config{MaxReceiveBufferPerConnection: 16 << 20, MaxReceiveBufferPerStream: 4 << 20},
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS13,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return o.Certificate() },
			// Which certificate is needed depends on the request; that its key is there, TLS proves already.
			ClientAuth: tls.RequestClientCert,
		},
	}
	return s, nil
}

// Serve answers what comes to a listener until Close. It returns nil after Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("provider: %w", err)
	}
	return nil
}

// closingTime is how long requests may take once the server closes.
const closingTime = 3 * time.Second

// Close ends the listeners, and waits for the requests that are being answered.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // who still waits asks again
	}
}

// Counts returns how many answers peers were given, by status.
func (s *Server) Counts() map[Count]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// statusError is an error with the HTTP status that tells it.
type statusError struct {
	error
	code  int
	after time.Duration // when to try again; 0: not said
}

func (e statusError) Unwrap() error { return e.error }

func status(code int, after time.Duration, err error) error { return statusError{err, code, after} }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := s.Now()
	done := Request{}
	var err error
	done.Peer, done.Endpoint, done.Status, err = s.serve(w, r)
	if err != nil {
		done.Status = s.fail(w, err)
		s.Log.Info("a provider's request was refused", "peer", done.Peer.Domain(), "endpoint", string(done.Endpoint), "status", done.Status, "reason", err)
	}
	s.mu.Lock()
	s.counts[Count{done.Peer, done.Status}]++
	s.mu.Unlock()
	if s.Observe != nil {
		done.Took = s.Now().Sub(began)
		s.Observe(done)
	}
}

// serve answers a request, or says why not.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) (peer uri.Provider, name Endpoint, code int, err error) {
	if r.URL.Path == DirectoryPath {
		code, err = s.serveDirectory(w, r)
		return peer, "", code, err
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	e, ok := s.endpoints[Endpoint(first)]
	if !ok {
		return peer, "", 0, fmt.Errorf("%w: no such endpoint", mimi.ErrNotFound)
	}
	name = Endpoint(first)
	if r.Method != e.method && r.Method != http.MethodHead {
		w.Header().Set("Allow", e.method+", HEAD")
		return peer, name, 0, status(http.StatusMethodNotAllowed, 0, errors.New("another method is needed"))
	}
	if peer, err = s.caller(w, r); err != nil {
		return peer, name, 0, err
	}
	if r.Method == http.MethodHead { // Client.Check: does it know us?
		w.WriteHeader(http.StatusNoContent)
		return peer, name, http.StatusNoContent, nil
	}
	if wait := s.meter.take(peer, e.cost); wait > 0 {
		return peer, name, 0, status(http.StatusTooManyRequests, wait, errors.New("too many requests"))
	}
	code, err = e.serve(w, r, call{from: peer, target: rest})
	return peer, name, code, err
}

func (s *Server) serveDirectory(w http.ResponseWriter, r *http.Request) (int, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return 0, status(http.StatusMethodNotAllowed, 0, errors.New("another method is needed"))
	}
	if err := s.isForUs(r); err != nil {
		return 0, err
	}
	if wait := s.meter.take(uri.Provider{}, 1); wait > 0 {
		return 0, status(http.StatusTooManyRequests, wait, errors.New("too many requests"))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(s.directory) // if it fails, who asked has gone
	return http.StatusOK, nil
}

// isForUs checks that the Host is our domain; its port does not count (mimi-protocol-06 §5).
func (s *Server) isForUs(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if !strings.EqualFold(host, s.Provider.Domain()) {
		return status(http.StatusMisdirectedRequest, 0, errors.New("the Host is not our domain"))
	}
	return nil
}

// caller returns who makes a request. A certificate that does not prove it may be the other's mistake or ours, and be mended: that is
// 401, after which a request is tried again; to speak for another provider is 403, which is final.
func (s *Server) caller(w http.ResponseWriter, r *http.Request) (uri.Provider, error) {
	if err := s.isForUs(r); err != nil {
		return uri.Provider{}, err
	}
	peer, err := parseFrom(r.Header)
	if err != nil {
		return uri.Provider{}, err
	}
	if r.TLS == nil {
		return uri.Provider{}, status(http.StatusForbidden, 0, errors.New("no TLS"))
	}
	roots, known := s.Trust.Roots(peer)
	if !known {
		err = errors.New("not one of our peers")
	} else {
		err = trust.Verify(r.TLS.PeerCertificates, peer.Domain(), roots, s.Now())
	}
	switch {
	case err == nil:
		return peer, nil
	case errors.Is(err, trust.ErrName):
		return uri.Provider{}, status(http.StatusForbidden, 0, err)
	}
	w.Header().Set("WWW-Authenticate", "ClientCertificate")
	return uri.Provider{}, status(http.StatusUnauthorized, 0, err)
}

// parseFrom reads the provider of the From header: mimi@domain, in addr-spec form (mimi-protocol-06 §5).
func parseFrom(h http.Header) (uri.Provider, error) {
	bad := status(http.StatusBadRequest, 0, errors.New("want one From header, mimi@domain"))
	if len(h.Values("From")) != 1 {
		return uri.Provider{}, bad
	}
	a, err := mail.ParseAddress(h.Get("From"))
	if err != nil || a.Name != "" {
		return uri.Provider{}, bad
	}
	domain, ok := strings.CutPrefix(a.Address, "mimi@")
	if !ok {
		return uri.Provider{}, bad
	}
	p, err := uri.NewProvider(domain)
	if err != nil {
		return uri.Provider{}, bad
	}
	return p, nil
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, err error) int {
	var e statusError
	text := err.Error()
	if !errors.As(err, &e) {
		e.code = statusOf(err)
	}
	if after, ok := mimi.RetryTime(err); ok {
		e.after = after
	}
	if e.code == http.StatusInternalServerError {
		s.Log.Error("a provider's request failed", "error", err)
		text = "this cannot be answered now" // what is wrong here is not for others
	}
	if e.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.after.Seconds()))))
	}
	http.Error(w, text, e.code)
	return e.code
}

// statusOf returns the HTTP status for an error of an endpoint.
func statusOf(err error) int {
	switch {
	case errors.Is(err, mimi.ErrBadRequest):
		return http.StatusBadRequest
	case errors.Is(err, mimi.ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, mimi.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrNoPeer), errors.Is(err, ErrUnreachable):
		return http.StatusBadGateway
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
