package mimi

import (
	"crypto/sha256"

	"mimigate/core/mls"
	"mimigate/core/uri"
)

// FanoutMessage is one event of a room, as the hub tells its followers (mimi-protocol-06 §5.5).
type FanoutMessage struct {
	Timestamp uint64 // when the hub accepted it, in milliseconds since 1970
	Message   Message

	Frank *Frank                // beside a PrivateMessage; may be nil
	Tree  mls.RatchetTreeOption // beside a Welcome
	// More are, beside a proposal, those that came with it, and beside an external commit the hub's own proposals made anew for
	// its epoch.
	More []Message
}

// MarshalMLS implements mls.Marshaler.
func (f *FanoutMessage) MarshalMLS(e *mls.Encoder) {
	e.Uint64(f.Timestamp)
	f.Message.MarshalMLS(e)
	switch f.Message.WireFormat {
	case mls.WirePrivateMessage:
		encodeFrank(e, f.Frank)
	case mls.WireWelcome:
		f.Tree.MarshalMLS(e)
	default:
		encodeMessages(e, f.More)
	}
}

// UnmarshalMLS implements mls.Unmarshaler. A commit may end the data: peers of the time of draft -03 put nothing after
// it (reading A20).
func (f *FanoutMessage) UnmarshalMLS(d *mls.Decoder) {
	*f = FanoutMessage{Timestamp: d.Uint64()}
	f.Message.UnmarshalMLS(d)
	if d.Err() != nil {
		return
	}
	switch f.Message.WireFormat {
	case mls.WirePrivateMessage:
		f.Frank = decodeFrank(d)
	case mls.WireWelcome:
		f.Tree.UnmarshalMLS(d)
	case mls.WirePublicMessage:
		if f.Message.content() == mls.ContentCommit && !d.More() {
			return
		}
		f.More = decodeHandshakes(d, mls.ContentProposal)
	default:
		d.Failf("a message of wire format %d is not fanned out", f.Message.WireFormat)
	}
}

// ParseFanout reads the body of a notify request: messages one after the other, at least one (reading A21). Nothing is returned
// where any of it is malformed; the error then wraps ErrBadRequest.
func ParseFanout(body []byte) ([]FanoutMessage, error) {
	d := mls.NewDecoder(body)
	var list []FanoutMessage
	for d.More() || len(list) == 0 {
		var f FanoutMessage
		f.UnmarshalMLS(d)
		if d.Err() != nil {
			return nil, badRequest(d.Err())
		}
		list = append(list, f)
	}
	return list, nil
}

// InboxHash is by what a follower knows the body of a notify request again that it has taken already (§5.5).
func InboxHash(room uri.Room, body []byte) [sha256.Size]byte {
	hash := sha256.New()
	hash.Write([]byte(room.String())) // names the hub too
	hash.Write([]byte{0})
	hash.Write(body)
	return [sha256.Size]byte(hash.Sum(nil))
}
