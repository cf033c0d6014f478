package content

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"mimigate/core/uri"
)

// hashSHA256 is the first octet of every message id of this version (mimi-content-09 §3.3).
const hashSHA256 = 1

// MaxSkew is how far the hub's clock may be ahead of ours (mimi-content-09 §9.1: "a few minutes").
const MaxSkew = 5 * time.Minute

// ComputeID returns the id of an encoded message (mimi-content-09 §3.3). sender and room are the URIs as they stand in
// extensions 1 and 2. It fails with ErrBounds where a URI is longer than 65,535 octets, and with ErrMalformed where encoded
// does not begin like a message.
func ComputeID(sender, room string, encoded []byte) (MessageID, error) {
	const head = "\x87\x50" // an array of seven, beginning with an octet string of 16
	if len(encoded) < len(head)+len(Salt{}) || string(encoded[:len(head)]) != head {
		return MessageID{}, fmt.Errorf("%w: no salt at the start", ErrMalformed)
	}
	if len(sender) > math.MaxUint16 || len(room) > math.MaxUint16 {
		return MessageID{}, fmt.Errorf("%w: URI too long for a message id", ErrBounds)
	}
	h := sha256.New()
	for _, s := range []string{sender, room} {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s))))
		h.Write([]byte(s))
	}
	h.Write(encoded)
	h.Write(encoded[len(head) : len(head)+len(Salt{})])
	id := MessageID{hashSHA256}
	copy(id[1:], h.Sum(nil))
	return id, nil
}

// Verify checks that m says to be from the user and in the room that it came from and through, as the leaf's credential and
// the group say, and returns its id; encoded is what m was decoded from. It fails with ErrSender. An extension that is
// absent contradicts nothing (mimi-content-09 §4.3 makes both optional); the id is then made of the verified address.
func Verify(m *Message, encoded []byte, sender uri.User, room uri.Room) (MessageID, error) {
	senderURI, roomURI := m.SenderURI, m.RoomURI
	if senderURI == "" {
		senderURI = sender.String()
	} else if u, err := m.Sender(); err != nil || u != sender {
		return MessageID{}, fmt.Errorf("%w: sender", ErrSender)
	}
	if roomURI == "" {
		roomURI = room.String()
	} else if r, err := m.Room(); err != nil || r != room {
		return MessageID{}, fmt.Errorf("%w: room", ErrSender)
	}
	return ComputeID(senderURI, roomURI, encoded)
}

// CheckTimes applies what mimi-content-09 §9.1 says of times: accepted is the hub's timestamp of the message, created when the
// room was made (zero: not known), now our clock. It fails with ErrTimes.
func (m *Message) CheckTimes(accepted, created, now time.Time) error {
	if accepted.After(now.Add(MaxSkew)) {
		return fmt.Errorf("%w: accepted in the future", ErrTimes)
	}
	if !created.IsZero() && accepted.Before(created.Add(-MaxSkew)) {
		return fmt.Errorf("%w: older than its room", ErrTimes)
	}
	if m.Expires == nil {
		return nil
	}
	after := time.Duration(m.Expires.Seconds) * time.Second
	if !m.Expires.Relative {
		after = time.Unix(int64(m.Expires.Seconds), 0).Sub(accepted)
	}
	if after > MaxExpiry || after < -MaxExpiry {
		return fmt.Errorf("%w: expiry more than a year away", ErrTimes)
	}
	return nil
}
