package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/provider/trust"
	"mimigate/core/uri"
)

// ErrUnreachable: a peer has not answered, or not as a provider does. What was asked may have been done.
var ErrUnreachable = errors.New("provider: no answer")

// ErrNotAccepted: a peer does not know us, or not by our certificate.
var ErrNotAccepted = errors.New("provider: it has not accepted us as its peer")

// ClientOptions are what a Client needs.
type ClientOptions struct {
	Self uri.Provider
	Peer uri.Provider
	// URL is where the peer's directory is found, without its path; "": https:// and its domain.
	URL string
	// Roots are what the peer's certificate must descend from; nil: what the operating system trusts.
	Roots       *x509.CertPool
	Certificate func() (*tls.Certificate, error)
	Now         func() time.Time
}

// Client asks one peer: HTTPS with mutual TLS (mimi-protocol-06 §5). It implements all endpoints. Nothing is asked within a unit of
// work. A request whose outcome is unknown is repeated as it is, a few times at once; after that whoever keeps it does.
type Client struct {
	ClientOptions
	http *http.Client

	mu        sync.Mutex
	directory Directory
	read      time.Time // when
}

var (
	_ mimi.Hub         = (*Client)(nil)
	_ mimi.Follower    = (*Client)(nil)
	_ mimi.KeyMaterial = (*Client)(nil)
	_ mimi.Consent     = (*Client)(nil)
	_ mimi.Identifiers = (*Client)(nil)
	_ mimi.Abuse       = (*Client)(nil)
	_ mimi.Assets      = (*Client)(nil)
)

const (
	dialTime      = 10 * time.Second
	directoryLife = time.Hour
	// attempts at one request, with a pause that grows from firstPause, a little different each time.
	attempts   = 3
	firstPause = 200 * time.Millisecond
	// longestWait is the most that a peer's Retry-After counts.
	longestWait = time.Hour
)

// NewClient returns a client. It connects when it is first used.
func NewClient(o ClientOptions) *Client {
	c := &Client{ClientOptions: o}
	if c.URL == "" {
		c.URL = "https://" + o.Peer.Domain()
	}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTime}).DialContext,
			TLSHandshakeTimeout: dialTime,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
			DisableCompression:  true,
			HTTP2:               &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 10 * time.Second},
			TLSClientConfig:     c.tls(),
		},
	}
	return c
}

// tls proves both ends. A provider's endpoints may be on any host: what their certificate has to be for is the provider's domain
// (reading A41).
func (c *Client) tls() *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.Certificate() },
		InsecureSkipVerify:   true, // of the host's name; VerifyConnection verifies the provider's
		VerifyConnection: func(s tls.ConnectionState) error {
			return trust.Verify(s.PeerCertificates, c.Peer.Domain(), c.Roots, c.Now())
		},
	}
}

// Close ends idle connections. Requests end by their contexts.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Endpoints returns the client as what a peer offers.
func (c *Client) Endpoints() Endpoints {
	return Endpoints{Hub: c, Follower: c, KeyMaterial: c, Consent: c, Identifiers: c, Abuse: c, Assets: c}
}

// Check asks whether the peer answers and accepts us. The error wraps ErrUnreachable, ErrDirectory or ErrNotAccepted.
func (c *Client) Check(ctx context.Context) error {
	c.forgetDirectory()
	room, err := c.Self.Room("check")
	if err != nil {
		return err
	}
	d, err := c.directoryNow(ctx)
	if err != nil {
		return err
	}
	u, err := d.URL(Notify, room.String(), c.Peer.Domain())
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodHead, u, nil, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return ErrNotAccepted
	case http.StatusMethodNotAllowed, http.StatusNotImplemented: // no provider has to know it
		return nil
	}
	if resp.StatusCode/100 != 2 {
		return c.refused(resp, nil)
	}
	return nil
}

// KeyMaterial implements [mimi.KeyMaterial].
func (c *Client) KeyMaterial(ctx context.Context, _ uri.Provider, target uri.User, r *mimi.KeyMaterialRequest) (*mimi.KeyMaterialResponse, error) {
	a := new(mimi.KeyMaterialResponse)
	return a, c.ask(ctx, KeyMaterial, target.String(), r, a)
}

// Update implements [mimi.Hub].
func (c *Client) Update(ctx context.Context, _ uri.Provider, room uri.Room, r *mimi.UpdateRequest) (*mimi.UpdateRoomResponse, error) {
	a := new(mimi.UpdateRoomResponse)
	return a, c.ask(ctx, Update, room.String(), r, a)
}

// Submit implements [mimi.Hub].
func (c *Client) Submit(ctx context.Context, _ uri.Provider, room uri.Room, r *mimi.SubmitMessageRequest) (*mimi.SubmitMessageResponse, error) {
	a := new(mimi.SubmitMessageResponse)
	return a, c.ask(ctx, SubmitMessage, room.String(), r, a)
}

// GroupInfo implements [mimi.Hub].
func (c *Client) GroupInfo(ctx context.Context, _ uri.Provider, room uri.Room, r *mimi.GroupInfoRequest) (*mimi.GroupInfoResponse, error) {
	a := new(mimi.GroupInfoResponse)
	return a, c.ask(ctx, GroupInfo, room.String(), r, a)
}

// Notify implements [mimi.Follower]. Any 2xx says that the messages were taken (reading A6).
func (c *Client) Notify(ctx context.Context, _ uri.Provider, room uri.Room, body []byte) error {
	_, err := c.post(ctx, Notify, room.String(), body)
	return err
}

// RequestConsent implements [mimi.Consent].
func (c *Client) RequestConsent(ctx context.Context, _ uri.Provider, e *mimi.ConsentEntry) error {
	_, err := c.post(ctx, RequestConsent, e.Target, mimi.Encode(e))
	return err
}

// UpdateConsent implements [mimi.Consent].
func (c *Client) UpdateConsent(ctx context.Context, _ uri.Provider, e *mimi.ConsentEntry) error {
	_, err := c.post(ctx, UpdateConsent, e.Requester, mimi.Encode(e))
	return err
}

// Identify implements [mimi.Identifiers].
func (c *Client) Identify(ctx context.Context, _ uri.Provider, r *mimi.IdentifierRequest) (*mimi.IdentifierResponse, error) {
	a := new(mimi.IdentifierResponse)
	return a, c.ask(ctx, IdentifierQuery, c.Peer.String(), r, a)
}

// ReportAbuse implements [mimi.Abuse].
func (c *Client) ReportAbuse(ctx context.Context, _ uri.Provider, room uri.Room, r *mimi.AbuseReport) error {
	_, err := c.post(ctx, ReportAbuse, room.String(), mimi.Encode(r))
	return err
}

// Download implements [mimi.Assets]. The answer of the store comes through, whatever its status; one of the peer itself cannot be
// told from it, so that every status but that of success is the store's word.
func (c *Client) Download(ctx context.Context, _ uri.Provider, r *mimi.AssetRequest) (*mimi.Asset, error) {
	d, err := c.directoryNow(ctx)
	if err != nil {
		return nil, err
	}
	u, err := d.URL(ProxyDownload, r.URL, c.Peer.Domain())
	if err != nil {
		return nil, err
	}
	resp, err := c.do(ctx, http.MethodGet, u, nil, mimi.AssetRequestHeader(r.Header))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return &mimi.Asset{Status: resp.StatusCode, Header: mimi.AssetResponseHeader(resp.Header), Body: resp.Body}, nil
}

// ask makes a request and reads the answer. An answer that cannot be read says nothing of what was done.
func (c *Client) ask(ctx context.Context, e Endpoint, address string, request, answer mimi.Codec) error {
	body, err := c.post(ctx, e, address, mimi.Encode(request))
	if err != nil {
		return err
	}
	if mimi.Decode(body, answer) != nil {
		return fmt.Errorf("%w: %s of %s: its answer cannot be read", ErrUnreachable, e, c.Peer.Domain())
	}
	return nil
}

// post makes a request, and repeats it where that may help.
func (c *Client) post(ctx context.Context, e Endpoint, address string, body []byte) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime+time.Duration(len(body)/slowest)*time.Second)
	defer cancel()
	for i := 0; ; i++ {
		if answer, err = c.once(ctx, e, address, body); err == nil {
			return answer, nil
		}
		var again passing
		if !errors.As(err, &again) || i+1 == attempts {
			return nil, fmt.Errorf("%s of %s: %w", e, c.Peer.Domain(), err)
		}
		pause := time.NewTimer(firstPause<<i/2 + rand.N(firstPause<<i))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, fmt.Errorf("%s of %s: %w", e, c.Peer.Domain(), err)
		}
	}
}

// passing is an error that may be gone in a moment.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

// once makes a request once.
func (c *Client) once(ctx context.Context, e Endpoint, address string, body []byte) ([]byte, error) {
	d, err := c.directoryNow(ctx)
	if err != nil {
		return nil, err
	}
	u, err := d.URL(e, address, c.Peer.Domain())
	if err != nil {
		c.forgetDirectory() // it may be mended by then
		return nil, err
	}
	resp, err := c.do(ctx, http.MethodPost, u, body, nil)
	if err != nil {
		return nil, passing{fmt.Errorf("%w: %w", ErrUnreachable, err)}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, roomMax+1))
	switch {
	case err != nil:
		return nil, passing{fmt.Errorf("%w: %w", ErrUnreachable, err)}
	case resp.StatusCode/100 != 2:
		return nil, c.refused(resp, answer)
	case len(answer) > roomMax:
		return nil, fmt.Errorf("%w: an answer of more than %d octets", ErrUnreachable, roomMax)
	}
	return answer, nil
}

// do sends a request: Host is the provider's domain, whatever host the URL names.
func (c *Client) do(ctx context.Context, method string, u *url.URL, body []byte, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, header)
	r.Host = c.Peer.Domain()
	r.Header.Set("From", "mimi@"+c.Self.Domain())
	r.Header.Set("User-Agent", "mimigate")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", mediaType)
		// All endpoints know a request again: one that a connection was lost with is sent on another.
		r.Header.Set("Idempotency-Key", "body")
	}
	return c.http.Do(r)
}

// refused returns what an answer other than 2xx says.
func (c *Client) refused(resp *http.Response, text []byte) error {
	err := fmt.Errorf("HTTP status %d: %s", resp.StatusCode, excerpt(text))
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %w", mimi.ErrBadRequest, err)
	case http.StatusForbidden:
		return fmt.Errorf("%w: %w", mimi.ErrForbidden, err)
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: %w", ErrNotAccepted, err)
	case http.StatusNotFound, http.StatusMisdirectedRequest:
		if c.forgetDirectory() { // the endpoint may have moved
			return passing{fmt.Errorf("%w: %w", ErrUnreachable, err)}
		}
		if resp.StatusCode == http.StatusNotFound {
			return fmt.Errorf("%w: %w", mimi.ErrNotFound, err)
		}
	}
	err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	if after, ok := retryAfter(resp.Header.Get("Retry-After"), c.Now()); ok {
		return mimi.RetryAfter(min(after, longestWait), err)
	}
	if resp.StatusCode >= 500 {
		return passing{err}
	}
	return err
}

// retryAfter reads a Retry-After header: seconds or a date (RFC 9110 §10.2.3).
func retryAfter(text string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// excerpt returns the beginning of what a peer says about an error, on one line.
func excerpt(text []byte) string {
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return -1
		}
		return r
	}, string(text[:min(len(text), 200)]))
	return strconv.Quote(line)
}

// directoryNow returns the peer's directory, reading it where it is not known or old.
func (c *Client) directoryNow(ctx context.Context) (Directory, error) {
	c.mu.Lock()
	d, read := c.directory, c.read
	c.mu.Unlock()
	if d != nil && c.Now().Sub(read) < directoryLife {
		return d, nil
	}
	fresh, err := c.readDirectory(ctx)
	switch {
	case err == nil:
		c.mu.Lock()
		c.directory, c.read = fresh, c.Now()
		c.mu.Unlock()
		return fresh, nil
	case d != nil:
		return d, nil // old is better than none
	}
	return nil, err
}

func (c *Client) readDirectory(ctx context.Context) (Directory, error) {
	u, err := url.Parse(strings.TrimSuffix(c.URL, "/") + DirectoryPath)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDirectory, c.URL)
	}
	resp, err := c.do(ctx, http.MethodGet, u, nil, nil)
	if err != nil {
		return nil, passing{fmt.Errorf("%w: %w", ErrUnreachable, err)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, directoryMax+1))
	switch {
	case err != nil:
		return nil, passing{fmt.Errorf("%w: %w", ErrUnreachable, err)}
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: HTTP status %d: %s", ErrDirectory, resp.StatusCode, excerpt(text))
	case len(text) > directoryMax:
		return nil, fmt.Errorf("%w: more than %d octets", ErrDirectory, directoryMax)
	}
	return ParseDirectory(text)
}

// forgetDirectory makes the directory be read anew, and reports whether it was read before the last moment.
func (c *Client) forgetDirectory() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.directory != nil && c.Now().Sub(c.read) > directoryLife/60
	c.directory = nil
	return old
}
