package mimi

import "mimigate/core/mls"

// SubmitMessageRequest is an application message for a room (mimi-protocol-06 §5.4).
type SubmitMessageRequest struct {
	Message Message // a PrivateMessage with application data
	Sender  string  // sendingUri: who sends it, as in the participant list
}

// MarshalMLS implements mls.Marshaler.
func (r *SubmitMessageRequest) MarshalMLS(e *mls.Encoder) {
	encodeProtocol(e)
	r.Message.MarshalMLS(e)
	e.Opaque([]byte(r.Sender))
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *SubmitMessageRequest) UnmarshalMLS(d *mls.Decoder) {
	*r = SubmitMessageRequest{}
	decodeProtocol(d)
	r.Message.UnmarshalMLS(d)
	if d.Err() == nil && (r.Message.Private == nil || r.Message.content() != mls.ContentApplication) {
		d.Failf("not a PrivateMessage with application data")
	}
	r.Sender = string(d.Opaque())
}

// SubmitCode is a SubmitResponseCode.
type SubmitCode uint8

// The answers to a submitted message.
const (
	SubmitAccepted    SubmitCode = 0
	SubmitNotAllowed  SubmitCode = 1
	SubmitEpochTooOld SubmitCode = 2
)

// SubmitMessageResponse is the answer to a submitted message (mimi-protocol-06 §5.4). The draft has no text in it; of a code
// that it does not know nothing more is read.
type SubmitMessageResponse struct {
	Code     SubmitCode
	Accepted uint64 // the hub's time in milliseconds since 1970
	Frank    *Frank // Accepted, if the message could be franked
	Epoch    uint64 // EpochTooOld: the current epoch
}

// MarshalMLS implements mls.Marshaler.
func (r *SubmitMessageResponse) MarshalMLS(e *mls.Encoder) {
	encodeProtocol(e)
	e.Uint8(uint8(r.Code))
	switch r.Code {
	case SubmitAccepted:
		e.Uint64(r.Accepted)
		encodeFrank(e, r.Frank)
	case SubmitEpochTooOld:
		e.Uint64(r.Epoch)
	}
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *SubmitMessageResponse) UnmarshalMLS(d *mls.Decoder) {
	*r = SubmitMessageResponse{}
	decodeProtocol(d)
	r.Code = SubmitCode(d.Uint8())
	switch r.Code {
	case SubmitAccepted:
		r.Accepted = d.Uint64()
		r.Frank = decodeFrank(d)
	case SubmitEpochTooOld:
		r.Epoch = d.Uint64()
	}
}
