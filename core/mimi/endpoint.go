package mimi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mimigate/core/uri"
)

// Hub is what a provider does for the rooms of its domain. An answer, refusals included, is a response; an error says that there is
// none: those below are final, after any other the request may have been carried out, and is repeated as it is.
type Hub interface {
	// Update submits a commit or proposals (mimi-protocol-06 §5.3).
	Update(ctx context.Context, from uri.Provider, room uri.Room, r *UpdateRequest) (*UpdateRoomResponse, error)
	// Submit submits an application message (§5.4).
	Submit(ctx context.Context, from uri.Provider, room uri.Room, r *SubmitMessageRequest) (*SubmitMessageResponse, error)
	// GroupInfo asks for what an external commit needs (§5.6).
	GroupInfo(ctx context.Context, from uri.Provider, room uri.Room, r *GroupInfoRequest) (*GroupInfoResponse, error)
}

// Follower is what a provider does for the rooms of others. Notify hands it one or more [FanoutMessage], concatenated (§5.5); nil
// means that they are on disk there, or were already. Errors as for Hub.
type Follower interface {
	Notify(ctx context.Context, from uri.Provider, room uri.Room, body []byte) error
}

// KeyMaterial hands out key packages for the clients of a user (§5.2). It is asked by way of the room's hub, which passes the
// request on to the user's provider. Errors as for Hub; after an unknown outcome the request may be repeated, and costs
// another key package.
type KeyMaterial interface {
	KeyMaterial(ctx context.Context, from uri.Provider, target uri.User, r *KeyMaterialRequest) (*KeyMaterialResponse, error)
}

// Consent hears what users of another provider ask of ours, and what they allow them (§5.7, §8). It goes directly between the two
// providers. nil means that the entry was received, and tells nothing about whether there is such a user. Errors as for Hub.
type Consent interface {
	// RequestConsent takes a request for the consent of one of our users, or cancels one.
	RequestConsent(ctx context.Context, from uri.Provider, e *ConsentEntry) error
	// UpdateConsent takes what a user there grants to, or revokes from, one of ours.
	UpdateConsent(ctx context.Context, from uri.Provider, e *ConsentEntry) error
}

// Identifiers finds the addresses of a provider's users (§5.8). Errors as for Hub.
type Identifiers interface {
	Identify(ctx context.Context, from uri.Provider, r *IdentifierRequest) (*IdentifierResponse, error)
}

// Abuse takes reports about what was said in a room, at its hub (§5.9). nil means that the report was received. Errors as for Hub.
type Abuse interface {
	ReportAbuse(ctx context.Context, from uri.Provider, room uri.Room, r *AbuseReport) error
}

// Assets fetches files for other providers, so that the store which has them does not learn who reads them (§5.10.2). The caller
// closes the body of the answer. Errors as for Hub; any other means that the file could not be fetched.
type Assets interface {
	Download(ctx context.Context, from uri.Provider, r *AssetRequest) (*Asset, error)
}

// Final errors of an endpoint: the request was not carried out, and will not be if it is repeated.
var (
	// ErrBadRequest: the request cannot be understood (HTTP 400).
	ErrBadRequest = errors.New("mimi: bad request")
	// ErrForbidden: it is not this provider's to make this request (HTTP 403).
	ErrForbidden = errors.New("mimi: forbidden")
	// ErrNotFound: there is no such room here (HTTP 404).
	ErrNotFound = errors.New("mimi: not found")
)

// Final reports whether an error of an endpoint means that the request was not and will not be carried out.
func Final(err error) bool {
	return errors.Is(err, ErrBadRequest) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrNotFound)
}

// retryError is an error with the time that the other side asks us to wait.
type retryError struct {
	error
	after time.Duration
}

func (e retryError) Unwrap() error { return e.error }

// RetryAfter adds to an error how long the other side wants to be left alone (§5.5: Retry-After).
func RetryAfter(after time.Duration, err error) error {
	return retryError{fmt.Errorf("%w (again in %v)", err, after), after}
}

// RetryTime returns what RetryAfter added to an error, and whether it did.
func RetryTime(err error) (time.Duration, bool) {
	var r retryError
	ok := errors.As(err, &r)
	return r.after, ok
}
