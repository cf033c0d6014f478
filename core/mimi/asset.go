package mimi

import (
	"io"
	"net/http"
)

// AssetRequest asks a hub to fetch a file (mimi-protocol-06 §5.10.2). Neither the room nor the user who wants it is told.
type AssetRequest struct {
	URL    string // downloadUrl
	Header http.Header
}

// Asset is a file on its way. Its body is as the store that has it gives it: encrypted, mostly.
type Asset struct {
	Status int // of HTTP, that of the store: 200, 206, 304, 404, …
	Header http.Header
	Body   io.ReadCloser
}

// assetRequestHeaders and assetResponseHeaders are what a hub passes on (reading A37): nothing that tells of a client, or sets
// anything at one.
var (
	assetRequestHeaders  = []string{"Accept", "Accept-Encoding", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Range"}
	assetResponseHeaders = []string{"Accept-Ranges", "Age", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Date",
		"Etag", "Expires", "Last-Modified", "Retry-After"}
)

// AssetRequestHeader returns what of the header of a request for a file may be passed on.
func AssetRequestHeader(h http.Header) http.Header { return only(h, assetRequestHeaders) }

// AssetResponseHeader returns what of the header of its answer may be passed on.
func AssetResponseHeader(h http.Header) http.Header { return only(h, assetResponseHeaders) }

func only(h http.Header, names []string) http.Header {
	out := make(http.Header)
	for _, name := range names {
		if v := h.Values(name); len(v) > 0 {
			out[name] = v
		}
	}
	return out
}
