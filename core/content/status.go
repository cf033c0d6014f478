package content

import (
	"errors"
	"fmt"
)

// Status is what became of a message at one user (draft-mahy-mimi-message-status-01).
type Status uint8

// The statuses. Others are unknown, and kept.
const (
	StatusUnread Status = iota
	StatusDelivered
	StatusRead
	StatusExpired
	StatusDeleted
	StatusHidden
	StatusError
)

// MessageStatus is the status of one message.
type MessageStatus struct {
	ID     MessageID
	Status Status
}

// ErrStatus is wrapped by UnmarshalStatus.
var ErrStatus = errors.New("not a MIMI message status")

// MaxStatuses is how many messages a report may be about, our local policy.
const MaxStatuses = 4096

type wireStatus struct {
	_      struct{} `cbor:",toarray"`
	ID     []byte
	Status Status
}

// MarshalStatus encodes a report as TypeStatus. It travels as an ApplicationFraming of its own, or as a Single with that type in
// a Message. It fails with ErrStatus where an id is none, or there are more than MaxStatuses.
func MarshalStatus(report []MessageStatus) ([]byte, error) {
	if len(report) > MaxStatuses {
		return nil, fmt.Errorf("%w: %d messages", ErrStatus, len(report))
	}
	w := make([]wireStatus, len(report))
	for i, s := range report {
		if s.ID[0] != hashSHA256 {
			return nil, fmt.Errorf("%w: message id", ErrStatus)
		}
		w[i] = wireStatus{ID: s.ID[:], Status: s.Status}
	}
	return encodeCBOR(w)
}

// UnmarshalStatus decodes a report. Its messages may be unknown here, and its statuses too.
func UnmarshalStatus(data []byte) ([]MessageStatus, error) {
	if err := checkItem(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatus, err)
	}
	var w []wireStatus
	if err := decodeCBOR(data, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatus, err)
	}
	if w == nil || len(w) > MaxStatuses || !sameCBOR(w, data) {
		return nil, fmt.Errorf("%w: wrong shape", ErrStatus)
	}
	out := make([]MessageStatus, len(w))
	for i, s := range w {
		id, err := reference(s.ID)
		if err != nil || id.IsZero() {
			return nil, fmt.Errorf("%w: message id", ErrStatus)
		}
		out[i] = MessageStatus{ID: id, Status: s.Status}
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
	case StatusUnread:
		return 0
	case StatusDelivered:
		return 2
	case StatusRead:
		return 3
	case StatusExpired, StatusDeleted, StatusHidden:
		return 4
	}
	return 1 // an error, or unknown
}
