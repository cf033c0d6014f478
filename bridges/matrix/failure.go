package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"maunium.net/go/mautrix"

	"mimigate/core/adapter"
)

// usualWait is how long to wait where a homeserver limits the rate without saying for how long.
const usualWait = 5 * time.Second

// errcode returns the Matrix error code of an error, such as M_FORBIDDEN, or "".
func errcode(err error) string {
	var e mautrix.HTTPError
	if errors.As(err, &e) && e.RespError != nil {
		return e.RespError.ErrCode
	}
	return ""
}

// httpStatus returns the HTTP status of an error, or 0 where there was no answer.
func httpStatus(err error) int {
	var e mautrix.HTTPError
	if errors.As(err, &e) && e.Response != nil {
		return e.Response.StatusCode
	}
	return 0
}

// failed tells what an error of a request means for what was requested (see package adapter): certainly not done, or unknown. what
// says in words what was tried. The text of the error is the homeserver's, without what we sent.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	code, status := errcode(err), httpStatus(err)
	said := fmt.Errorf("matrix: %s: %w", what, plainError(err))
	switch code {
	case "M_LIMIT_EXCEEDED":
		return adapter.RetryAfter(retryAfter(err), said)
	case "M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED":
		return adapter.NotDelivered(fmt.Errorf("%w: %w", adapter.ErrAccount, said))
	case "M_EXCLUSIVE":
		return adapter.NotDelivered(fmt.Errorf("%w: the registration does not cover this user id, run account setup: %w", adapter.ErrAccount, said))
	case "M_FORBIDDEN", "M_TOO_LARGE", "M_BAD_JSON", "M_NOT_JSON", "M_INVALID_PARAM", "M_UNRECOGNIZED", "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM":
		return adapter.Refused(said)
	case "M_NOT_FOUND":
		return adapter.Gone(said)
	}
	switch {
	case neverArrived(err):
		return adapter.NotDelivered(said)
	case status == http.StatusTooManyRequests:
		return adapter.RetryAfter(retryAfter(err), said)
	case status == http.StatusRequestEntityTooLarge:
		return adapter.Refused(said)
	case status == http.StatusBadRequest && code != "":
		return adapter.Refused(said)
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout:
		return adapter.NotDelivered(said) // a proxy that does not know the homeserver, or wants something else
	}
	return said
}

// neverArrived reports whether a request certainly did not reach the homeserver: no connection could be made.
func neverArrived(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// plainError is an error without the request's URL, which may hold more than is fit for a log.
func plainError(err error) error {
	var e mautrix.HTTPError
	if !errors.As(err, &e) {
		return err
	}
	if e.WrappedError != nil {
		return e.WrappedError
	}
	if e.RespError != nil {
		return fmt.Errorf("%s (HTTP %d): %.200s", e.RespError.ErrCode, httpStatus(err), e.RespError.Err)
	}
	return fmt.Errorf("HTTP %d", httpStatus(err))
}

// retryAfter is how long a homeserver wants us to wait: retry_after_ms of the answer, or the header Retry-After.
func retryAfter(err error) time.Duration {
	var e mautrix.HTTPError
	if !errors.As(err, &e) {
		return usualWait
	}
	if e.RespError != nil {
		if ms, ok := e.RespError.ExtraData["retry_after_ms"].(float64); ok && ms > 0 {
			return time.Duration(min(ms, float64(time.Hour/time.Millisecond))) * time.Millisecond
		}
	}
	if e.Response != nil {
		if s, err := strconv.Atoi(e.Response.Header.Get("Retry-After")); err == nil && s > 0 {
			return min(time.Duration(s)*time.Second, time.Hour)
		}
	}
	return usualWait
}

// isAccount reports whether an error says that the account does not work until somebody acts.
func isAccount(err error) bool { return errors.Is(err, adapter.ErrAccount) }

// waited is the error for a call whose ctx ended before the account was connected.
func waited(ctx context.Context) error {
	return adapter.NotDelivered(fmt.Errorf("matrix: not connected: %w", context.Cause(ctx)))
}

// request makes one request of the client-server API as a user and decodes the answer into out, which may be nil.
func request(ctx context.Context, c *mautrix.Client, method string, path mautrix.ClientURLPath, query map[string]string, in, out any) error {
	address := c.BuildURLWithQuery(path, query)
	var answer json.RawMessage
	_, err := c.MakeFullRequest(ctx, mautrix.FullRequest{Method: method, URL: address, RequestJSON: in, ResponseJSON: &answer,
		SensitiveContent: true, MaxAttempts: 1, ResponseSizeLimit: maxAnswer})
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// maxAnswer bounds the answers of homeservers: the state of a room with 100,000 members has some 60 MB.
const maxAnswer = 256 << 20
