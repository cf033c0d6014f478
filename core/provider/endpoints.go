package provider

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"mimigate/core/mimi"
	"mimigate/core/uri"
)

// endpoint is how one endpoint is served.
type endpoint struct {
	method string
	cost   float64 // in requests
	serve  func(w http.ResponseWriter, r *http.Request, c call) (code int, err error)
}

// call is a request whose provider is known.
type call struct {
	from   uri.Provider
	target string // what stands in the path, still percent-encoded
	body   []byte
}

func (c call) room() (uri.Room, error) { return target(c, uri.ParseRoom) }
func (c call) user() (uri.User, error) { return target(c, uri.ParseUser) }

func target[T any](c call, parse func(string) (T, error)) (T, error) {
	t, err := parse(address(c.target))
	if err != nil {
		return t, fmt.Errorf("%w: the path: %w", mimi.ErrBadRequest, err)
	}
	return t, nil
}

// The media type of all bodies; the draft names none (reading A5).
const mediaType = "application/octet-stream"

// table returns the endpoints that are served.
func (s *Server) table() map[Endpoint]endpoint {
	t := map[Endpoint]endpoint{
		KeyMaterial:   s.post(otherMax, 1, s.keyMaterial),
		Update:        s.post(roomMax, 1, s.update),
		SubmitMessage: s.post(messageMax, 1, s.submit),
		Notify:        s.post(roomMax, 1, s.notify),
		GroupInfo:     s.post(otherMax, 5, s.groupInfo),
	}
	if c := s.Endpoints.Consent; c != nil {
		t[RequestConsent] = s.post(consentMax, 5, s.consent(c.RequestConsent))
		t[UpdateConsent] = s.post(consentMax, 5, s.consent(c.UpdateConsent))
	}
	if s.Endpoints.Identifiers != nil {
		t[IdentifierQuery] = s.post(otherMax, 50, s.identifierQuery) // ten a second: nobody is to list our users
	}
	if s.Endpoints.Abuse != nil {
		t[ReportAbuse] = s.post(roomMax, 50, s.reportAbuse)
	}
	if s.Endpoints.Assets != nil {
		t[ProxyDownload] = endpoint{http.MethodGet, 5, s.proxyDownload}
	}
	return t
}

// post is an endpoint with a body each way, or where its answer is nil, with none in the answer: that is 201 then (reading A5).
func (s *Server) post(limit int64, cost float64, answer func(context.Context, call) ([]byte, error)) endpoint {
	return endpoint{http.MethodPost, cost, func(w http.ResponseWriter, r *http.Request, c call) (int, error) {
		body, done, err := s.meter.body(w, r, c.from, limit)
		defer done()
		if err != nil {
			return 0, err
		}
		c.body = body
		ctx, cancel := withinAnswerTime(r.Context())
		defer cancel()
		a, err := answer(ctx, c)
		if err != nil {
			return 0, err
		}
		code := http.StatusCreated
		if a != nil {
			code = http.StatusOK
			w.Header().Set("Content-Type", mediaType)
		}
		w.WriteHeader(code)
		_, _ = w.Write(a) // if it fails, who asked has gone, and asks again
		return code, nil
	}}
}

// encoded returns the body of an answer.
func encoded[A mimi.Codec](a A, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return mimi.Encode(a), nil
}

func (s *Server) keyMaterial(ctx context.Context, c call) ([]byte, error) {
	user, err := c.user()
	if err != nil {
		return nil, err
	}
	q := new(mimi.KeyMaterialRequest)
	if err := mimi.Decode(c.body, q); err != nil {
		return nil, err
	}
	return encoded(s.Endpoints.KeyMaterial.KeyMaterial(ctx, c.from, user, q))
}

func (s *Server) update(ctx context.Context, c call) ([]byte, error) {
	room, err := c.room()
	if err != nil {
		return nil, err
	}
	q := new(mimi.UpdateRequest)
	if err := mimi.Decode(c.body, q); err != nil {
		return nil, err
	}
	return encoded(s.Endpoints.Hub.Update(ctx, c.from, room, q))
}

func (s *Server) submit(ctx context.Context, c call) ([]byte, error) {
	room, err := c.room()
	if err != nil {
		return nil, err
	}
	q := new(mimi.SubmitMessageRequest)
	if err := mimi.Decode(c.body, q); err != nil {
		return nil, err
	}
	return encoded(s.Endpoints.Hub.Submit(ctx, c.from, room, q))
}

func (s *Server) groupInfo(ctx context.Context, c call) ([]byte, error) {
	room, err := c.room()
	if err != nil {
		return nil, err
	}
	q := new(mimi.GroupInfoRequest)
	if err := mimi.Decode(c.body, q); err != nil {
		return nil, err
	}
	return encoded(s.Endpoints.Hub.GroupInfo(ctx, c.from, room, q))
}

func (s *Server) notify(ctx context.Context, c call) ([]byte, error) {
	room, err := c.room()
	if err != nil {
		return nil, err
	}
	return nil, s.Endpoints.Follower.Notify(ctx, c.from, room, c.body)
}

// consent serves both endpoints. What the path says does not count: it may be a user or a domain (reading A2), and the body names both.
func (s *Server) consent(take func(context.Context, uri.Provider, *mimi.ConsentEntry) error) func(context.Context, call) ([]byte, error) {
	return func(ctx context.Context, c call) ([]byte, error) {
		e := new(mimi.ConsentEntry)
		if err := mimi.Decode(c.body, e); err != nil {
			return nil, err
		}
		return nil, take(ctx, c.from, e)
	}
}

func (s *Server) identifierQuery(ctx context.Context, c call) ([]byte, error) {
	p, err := target(c, uri.ParseProvider)
	if err != nil {
		return nil, err
	}
	if p != s.Provider {
		return nil, fmt.Errorf("%w: another provider's users", mimi.ErrNotFound)
	}
	q := new(mimi.IdentifierRequest)
	if err := mimi.Decode(c.body, q); err != nil {
		return nil, err
	}
	return encoded(s.Endpoints.Identifiers.Identify(ctx, c.from, q))
}

func (s *Server) reportAbuse(ctx context.Context, c call) ([]byte, error) {
	room, err := c.room()
	if err != nil {
		return nil, err
	}
	q := new(mimi.AbuseReport)
	if err := mimi.Decode(c.body, q); err != nil {
		return nil, err
	}
	return nil, s.Endpoints.Abuse.ReportAbuse(ctx, c.from, room, q)
}

// proxyDownload passes on a file as it comes, with what of its header may be passed on.
func (s *Server) proxyDownload(w http.ResponseWriter, r *http.Request, c call) (int, error) {
	target, err := url.PathUnescape(c.target)
	if err != nil {
		return 0, fmt.Errorf("%w: the path", mimi.ErrBadRequest)
	}
	if r.URL.RawQuery != "" && !strings.Contains(target, "?") { // a URL that was not encoded as a whole
		target += "?" + r.URL.RawQuery
	}
	a, err := s.Endpoints.Assets.Download(r.Context(), c.from, &mimi.AssetRequest{URL: target, Header: mimi.AssetRequestHeader(r.Header)})
	if err != nil {
		if statusOf(err) == http.StatusInternalServerError {
			err = status(http.StatusBadGateway, 0, err)
		}
		return 0, err
	}
	defer a.Body.Close()
	maps.Copy(w.Header(), mimi.AssetResponseHeader(a.Header))
	w.WriteHeader(a.Status)
	if _, err := io.Copy(w, a.Body); err != nil {
		panic(http.ErrAbortHandler) // the only way to tell whoever reads it that it is not whole
	}
	return a.Status, nil
}
