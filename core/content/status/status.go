// Package status is what became of messages at their readers: application/mimi-message-status (draft-mahy-mimi-message-status-01). A report
// travels as an ApplicationFraming of its own, or as a content.Single of type content.TypeStatus in a message.
//
// The package is pure and part of core/content.
package status

import (
	"errors"
	"fmt"

	"mimigate/core/content"
	"mimigate/core/content/strictcbor"
)

// Status is what became of a message at one user (draft-mahy-mimi-message-status-01).
type Status uint8

// The statuses. Others are unknown, and kept.
const (
	Unread Status = iota
	Delivered
	Read
	Expired
	Deleted
	Hidden
	Failed // "error": it could not be received
)

// Report is the status of one message.
type Report struct {
	ID     content.MessageID
	Status Status
}

// ErrSyntax is wrapped by all errors of the package.
var ErrSyntax = errors.New("not a MIMI message status")

// MaxReports is how many messages one may tell of at once, our local policy.
const MaxReports = 4096

// idSHA256 is the first octet of every message id (mimi-content-09 §3.3).
const idSHA256 = 1

type wireReport struct {
	_      struct{} `cbor:",toarray"`
	ID     []byte
	Status Status
}

// Marshal encodes reports. It fails with ErrSyntax where an id is none, or there are more than MaxReports.
func Marshal(report []Report) ([]byte, error) {
	if len(report) > MaxReports {
		return nil, fmt.Errorf("%w: %d messages", ErrSyntax, len(report))
	}
	w := make([]wireReport, len(report))
	for i, s := range report {
		if s.ID[0] != idSHA256 {
			return nil, fmt.Errorf("%w: message id", ErrSyntax)
		}
		w[i] = wireReport{ID: s.ID[:], Status: s.Status}
	}
	return strictcbor.Marshal(w)
}

// Unmarshal decodes reports. Their messages may be unknown here, and their statuses too. Errors wrap ErrSyntax.
func Unmarshal(data []byte) ([]Report, error) {
	if err := strictcbor.Check(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	var w []wireReport
	if err := strictcbor.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if w == nil || len(w) > MaxReports || !strictcbor.Same(w, data) {
		return nil, fmt.Errorf("%w: wrong shape", ErrSyntax)
	}
	out := make([]Report, len(w))
	for i, s := range w {
		if len(s.ID) != len(content.MessageID{}) || s.ID[0] != idSHA256 {
			return nil, fmt.Errorf("%w: message id", ErrSyntax)
		}
		out[i] = Report{ID: content.MessageID(s.ID), Status: s.Status}
	}
	return out, nil
}

// Advance returns what a user's status of a message is after a report from one of their clients. Delivered and read only rise,
// and what is expired, deleted or hidden does not become delivered or read again. Unread, the zero value, is where it starts.
func (s Status) Advance(report Status) Status {
	if report.rank() > s.rank() {
		return report
	}
	return s
}

func (s Status) rank() int {
	switch s {
	case Unread:
		return 0
	case Delivered:
		return 2
	case Read:
		return 3
	case Expired, Deleted, Hidden:
		return 4
	}
	return 1 // an error, or unknown
}
