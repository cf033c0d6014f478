package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/uri"
)

const (
	maxAsset     = 4 << 30 // octets: more than any messenger takes
	maxRedirects = 3
)

// errAssetSize ends the body of a file that is larger than maxAsset.
var errAssetSize = errors.New("hub: the file is larger than any that is passed on")

// Download implements [mimi.Assets]: it fetches a file for a provider that takes part in a room of ours, or is asked by ourselves, from a host
// at which a provider in one of our rooms keeps files; the hub is no open proxy (mimi-protocol-06 §5.10.2). What the store answers is passed
// on, but for what could tell either side of the other.
func (h *Hub) Download(ctx context.Context, from uri.Provider, r *mimi.AssetRequest) (*mimi.Asset, error) {
	if h.Assets == nil {
		return nil, fmt.Errorf("%w: this hub fetches no files", mimi.ErrForbidden)
	}
	target, err := h.assetURL(ctx, r.URL)
	if err != nil {
		return nil, err
	}
	for range maxRedirects + 1 {
		resp, err := h.Assets.RoundTrip((&http.Request{Method: http.MethodGet, URL: target, Host: target.Host,
			Header: mimi.AssetRequestHeader(r.Header)}).WithContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("hub: fetching a file from %s: %w", target.Host, err)
		}
		next, err := redirect(target, resp)
		if err != nil {
			return nil, err
		}
		if next == nil {
			h.Log.Debug("file fetched", "for", from.Domain(), "host", target.Host, "status", resp.StatusCode)
			return &mimi.Asset{Status: resp.StatusCode, Header: mimi.AssetResponseHeader(resp.Header), Body: bounded(resp.Body)}, nil
		}
		target = next
	}
	return nil, fmt.Errorf("%w: the file's address leads in circles", mimi.ErrNotFound)
}

// assetURL returns the URL of a file if it may be fetched.
func (h *Hub) assetURL(ctx context.Context, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: not a URL", mimi.ErrBadRequest)
	case u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "":
		return nil, fmt.Errorf("%w: files are fetched by plain https URLs alone", mimi.ErrForbidden)
	}
	known, err := h.Store.HubAssetHost(ctx, strings.ToLower(u.Host))
	if err == nil && !known {
		return nil, fmt.Errorf("%w: no provider in a room of this hub keeps files there", mimi.ErrForbidden)
	}
	return u, err
}

// redirect returns where an answer sends us, nil for a final one. Another host is refused: nobody in a room has vouched for it.
func redirect(from *url.URL, resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	to, err := resp.Location()
	_ = resp.Body.Close()
	if err != nil || to.Scheme != "https" || !strings.EqualFold(to.Host, from.Host) || to.User != nil {
		return nil, fmt.Errorf("%w: the file's address leads to another host", mimi.ErrForbidden)
	}
	return to, nil
}

// bounded is a body that fails after maxAsset octets.
func bounded(body io.ReadCloser) io.ReadCloser {
	return &boundedBody{body, maxAsset}
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errAssetSize
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// PublicTransport returns what files are fetched with outside of tests: it connects to addresses of the public internet alone, whatever a name
// is resolved to, as the names come from rooms' policies. It goes by no proxy, keeps no cookies and follows no redirect.
func PublicTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error { return publicAddress(address) }}
	return &http.Transport{DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableCompression: true, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4, MaxResponseHeaderBytes: 64 << 10}
}

// errAddress: a name leads to an address that is not of the public internet.
var errAddress = errors.New("hub: not a public address")

// shared are address ranges that are neither private nor public: of carriers, for documentation, benchmarks, translation and the like.
var shared = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
}

func publicAddress(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return errAddress
	}
	ip := at.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return errAddress
	}
	for _, p := range shared {
		if p.Contains(ip) {
			return errAddress
		}
	}
	return nil
}
