package homeserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
)

// Download writes a file to w (see adapter.Media), by authenticated media (Client-Server API v1.11), and where a homeserver does not know that,
// as before.
func (s *Server) Download(ctx context.Context, blob adapter.Blob, r adapter.Range, w io.Writer) error {
	u, err := id.ParseContentURI(string(blob))
	if err != nil || u.IsEmpty() {
		return fmt.Errorf("matrix: not a handle of matrix: %w", adapter.ErrNotFound)
	}
	answer, err := s.fetch(ctx, s.Bot().BuildClientURL("v1", "media", "download", u.Homeserver, u.FileID))
	if Code(err) == "M_UNRECOGNIZED" {
		answer, err = s.fetch(ctx, s.Bot().BuildURL(mautrix.MediaURLPath{"v3", "download", u.Homeserver, u.FileID}))
	}
	if Code(err) == "M_NOT_FOUND" || Status(err) == http.StatusGone {
		return fmt.Errorf("matrix: the file is gone: %w", adapter.ErrNotFound)
	}
	if err != nil {
		return s.Check(ctx, Failed("downloading", err))
	}
	defer answer.Close()
	return copyRange(w, answer, r)
}

// fetch starts a download.
func (s *Server) fetch(ctx context.Context, address string) (io.ReadCloser, error) {
	_, answer, err := s.Bot().MakeFullRequestWithResp(ctx, mautrix.FullRequest{Method: http.MethodGet, URL: address, DontReadResponse: true, MaxAttempts: 1})
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// copyRange copies the octets of a range, and fails if there are more than it allows.
func copyRange(w io.Writer, from io.Reader, r adapter.Range) error {
	if _, err := io.CopyN(io.Discard, from, r.Offset); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("matrix: downloading: %w", err)
	}
	if r.Max <= 0 {
		if _, err := io.Copy(w, from); err != nil {
			return fmt.Errorf("matrix: downloading: %w", err)
		}
		return nil
	}
	if _, err := io.CopyN(w, from, r.Max); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("matrix: downloading: %w", err)
	}
	var more [1]byte
	if n, _ := io.ReadFull(from, more[:]); n > 0 {
		return adapter.Refused(fmt.Errorf("matrix: the file has more than %d octets", r.Max))
	}
	return nil
}

// Upload stores a file on the homeserver (see adapter.Media).
func (s *Server) Upload(ctx context.Context, file adapter.Upload, from io.Reader) (adapter.Blob, error) {
	kind := file.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	query := map[string]string{}
	if file.Filename != "" {
		query["filename"] = file.Filename
	}
	var got struct {
		URI string `json:"content_uri"`
	}
	_, err := s.Bot().MakeFullRequest(ctx, mautrix.FullRequest{
		Method: http.MethodPost, URL: s.Bot().BuildURLWithQuery(mautrix.MediaURLPath{"v3", "upload"}, query),
		Headers: http.Header{"Content-Type": {kind}}, RequestBody: from, RequestLength: file.Size, ResponseJSON: &got, MaxAttempts: 1,
	})
	if err != nil {
		return "", s.Check(ctx, Failed("uploading", err))
	}
	blob := native.Blob(got.URI)
	if blob == "" {
		return "", errors.New("matrix: the homeserver took a file and did not say where it is")
	}
	return blob, nil
}
