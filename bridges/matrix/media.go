package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
)

// blobOf is the handle of a file: its mxc URI. What is none is no handle.
func blobOf(mxc string) adapter.Blob {
	if u, err := id.ParseContentURI(mxc); err != nil || u.IsEmpty() || len(mxc) > 1024 {
		return ""
	}
	return adapter.Blob(mxc)
}

// Download implements adapter.Media, by authenticated media (Client-Server API v1.11), and where a homeserver does not know that,
// as before.
func (a *Adapter) Download(ctx context.Context, blob adapter.Blob, r adapter.Range, w io.Writer) error {
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	u, err := id.ParseContentURI(string(blob))
	if err != nil || u.IsEmpty() {
		return fmt.Errorf("matrix: not a handle of matrix: %w", adapter.ErrNotFound)
	}
	answer, err := s.fetch(ctx, s.bot.BuildClientURL("v1", "media", "download", u.Homeserver, u.FileID))
	if errcode(err) == "M_UNRECOGNIZED" {
		answer, err = s.fetch(ctx, s.bot.BuildURL(mautrix.MediaURLPath{"v3", "download", u.Homeserver, u.FileID}))
	}
	if errcode(err) == "M_NOT_FOUND" || httpStatus(err) == http.StatusGone {
		return fmt.Errorf("matrix: the file is gone: %w", adapter.ErrNotFound)
	}
	if err != nil {
		return s.check(ctx, failed("downloading", err))
	}
	defer answer.Close()
	return copyRange(w, answer, r)
}

// fetch starts a download.
func (s *session) fetch(ctx context.Context, address string) (io.ReadCloser, error) {
	_, answer, err := s.bot.MakeFullRequestWithResp(ctx, mautrix.FullRequest{Method: http.MethodGet, URL: address, DontReadResponse: true, MaxAttempts: 1})
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

// Upload implements adapter.Media.
func (a *Adapter) Upload(ctx context.Context, file adapter.Upload, from io.Reader) (adapter.Blob, error) {
	s, err := a.online(ctx)
	if err != nil {
		return "", err
	}
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
	_, err = s.bot.MakeFullRequest(ctx, mautrix.FullRequest{
		Method: http.MethodPost, URL: s.bot.BuildURLWithQuery(mautrix.MediaURLPath{"v3", "upload"}, query),
		Headers: http.Header{"Content-Type": {kind}}, RequestBody: from, RequestLength: file.Size, ResponseJSON: &got, MaxAttempts: 1,
	})
	if err != nil {
		return "", s.check(ctx, failed("uploading", err))
	}
	blob := blobOf(got.URI)
	if blob == "" {
		return "", errors.New("matrix: the homeserver took a file and did not say where it is")
	}
	return blob, nil
}
