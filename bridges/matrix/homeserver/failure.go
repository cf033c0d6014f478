package homeserver

import (
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

// Code returns the Matrix error code of an error, such as M_FORBIDDEN, or "".
func Code(err error) string {
	var e mautrix.HTTPError
	if errors.As(err, &e) && e.RespError != nil {
		return e.RespError.ErrCode
	}
	return ""
}

// Status returns the HTTP status of an error, or 0 where there was no answer.
func Status(err error) int {
	var e mautrix.HTTPError
	if errors.As(err, &e) && e.Response != nil {
		return e.Response.StatusCode
	}
	return 0
}

// Failed tells what an error of a request means for what was requested (see package adapter): certainly not done, or unknown. what
// says in words what was tried. The text of the error is the homeserver's, without what we sent.
func Failed(what string, err error) error {
	if err == nil {
		return nil
	}
	code, status := Code(err), Status(err)
	said := fmt.Errorf("matrix: %s: %w", what, Plain(err))
	switch code {
	case "M_LIMIT_EXCEEDED":
		return adapter.RetryAfter(retryAfter(err), said)
	case "M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED":
		return adapter.NotDelivered(fmt.Errorf("%w: %w", adapter.ErrAccount, said))
	case "M_EXCLUSIVE":
		return adapter.NotDelivered(fmt.Errorf("%w: the registration does not cover this user id, run account setup: %w", adapter.ErrAccount, said))
	case "M_FORBIDDEN", "M_TOO_LARGE", "M_BAD_JSON", "M_NOT_JSON", "M_INVALID_PARAM", "M_UNRECOGNIZED", "M_BAD_STATE":
		return adapter.Refused(said)
	case "M_NOT_FOUND":
		return adapter.Gone(said)
	}
	switch {
	case NeverArrived(err):
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

// NeverArrived reports whether a request certainly did not reach the homeserver: no connection could be made.
func NeverArrived(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// Plain is an error without the request's URL, which may hold more than is fit for a log.
func Plain(err error) error {
	var e mautrix.HTTPError
	if !errors.As(err, &e) {
		return err
	}
	if e.WrappedError != nil {
		return e.WrappedError
	}
	if e.RespError != nil {
		return fmt.Errorf("%s (HTTP %d): %.200s", e.RespError.ErrCode, Status(err), e.RespError.Err)
	}
	return fmt.Errorf("HTTP %d", Status(err))
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
