package adapter

import (
	"errors"
	"fmt"
	"time"
)

// What an error of an adapter means is told by errors.Is with these. The order: ErrRefused and ErrGone are also ErrNotDelivered.
// The text of an error is for admins; it holds no bodies, secrets or phone numbers.
var (
	// ErrNotDelivered: certainly nothing was shown (beyond what Sent lists), and the very same may be tried again.
	ErrNotDelivered = errors.New("not delivered")
	// ErrRefused: certainly not shown, and the same will never be: too large, forbidden content. The sender is told.
	ErrRefused = errors.New("refused by the network")
	// ErrGone: certainly not shown, and nothing will be in this conversation until somebody acts: it does not exist, we were
	// removed, or may not speak. Its messages wait; the admins are told.
	ErrGone = errors.New("conversation not available")
	// ErrAccount: the account does not work until somebody acts: logged out, wrong password, banned. From Run, it is not run
	// again by itself. The Status reported before says what to do.
	ErrAccount = errors.New("account needs attention")
	// ErrUnsupported: this conversation or network cannot do it, though the adapter has the interface.
	ErrUnsupported = errors.New("not supported by the network")
	// ErrNotFound: no such conversation, person or blob.
	ErrNotFound = errors.New("not found")
	// ErrUnknown: Confirmer cannot find out. The message may be sent again, which is counted.
	ErrUnknown = errors.New("outcome cannot be known")
)

// failure is a certain failure.
type failure struct {
	kind  error // ErrRefused, ErrGone, or nil
	after time.Duration
	err   error
}

func (f *failure) Error() string {
	kind := f.kind
	if kind == nil {
		kind = ErrNotDelivered
	}
	return fmt.Sprintf("%v: %v", kind, f.err)
}

func (f *failure) Unwrap() error { return f.err }

func (f *failure) Is(target error) bool {
	return target == ErrNotDelivered || f.kind != nil && target == f.kind
}

// NotDelivered says that err means: certainly not shown, try again after the usual backoff.
func NotDelivered(err error) error { return &failure{err: err} }

// RetryAfter says that err means: certainly not shown (a rate limit), and not to be tried before d has passed.
func RetryAfter(d time.Duration, err error) error { return &failure{after: d, err: err} }

// Refused says that err means: certainly not shown, and never will be. See ErrRefused.
func Refused(err error) error { return &failure{kind: ErrRefused, err: err} }

// Gone says that err means: certainly not shown, as the conversation is not available. See ErrGone.
func Gone(err error) error { return &failure{kind: ErrGone, err: err} }

// RetryDelay returns how long the network wants us to wait, and whether it said so.
func RetryDelay(err error) (time.Duration, bool) {
	var f *failure
	if errors.As(err, &f) && f.after > 0 {
		return f.after, true
	}
	return 0, false
}

// KeyError is an error about one key of an account's configuration.
type KeyError struct {
	Key string // as in the yaml tag; dots for nested keys
	Err error
}

// Error names the key.
func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *KeyError) Unwrap() error { return e.Err }
