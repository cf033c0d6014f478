package mimi

import (
	"bytes"

	"mimigate/core/mls"
)

// UpdateRequest is a HandshakeBundle (mimi-protocol-06 §5.3): a commit with what follows from it, or one or more proposals.
type UpdateRequest struct {
	Message Message // a commit or a proposal

	// Of a commit. Welcome is nil where it adds nobody who needs one; it and the GroupInfo carry no ratchet_tree.
	Welcome   *mls.Welcome
	GroupInfo GroupInfoOption
	Tree      mls.RatchetTreeOption

	// More are further proposals beside a proposal.
	More []Message
}

// IsCommit reports whether the request is a commit.
func (r *UpdateRequest) IsCommit() bool { return r.Message.content() == mls.ContentCommit }

// MarshalMLS implements mls.Marshaler.
func (r *UpdateRequest) MarshalMLS(e *mls.Encoder) {
	r.Message.MarshalMLS(e)
	if !r.IsCommit() {
		encodeMessages(e, r.More)
		return
	}
	e.Bool(r.Welcome != nil)
	if r.Welcome != nil {
		r.Welcome.MarshalMLS(e)
	}
	r.GroupInfo.MarshalMLS(e)
	r.Tree.MarshalMLS(e)
}

// UnmarshalMLS implements mls.Unmarshaler. The Welcome may be bare, as the draft has it, or an MLSMessage (reading A12).
func (r *UpdateRequest) UnmarshalMLS(d *mls.Decoder) {
	*r = UpdateRequest{}
	r.Message.UnmarshalMLS(d)
	switch r.Message.content() {
	case mls.ContentProposal:
		r.More = decodeHandshakes(d, mls.ContentProposal)
	case mls.ContentCommit:
		if d.Bool() {
			r.Welcome = decodeWelcome(d)
		}
		r.GroupInfo.UnmarshalMLS(d)
		r.Tree.UnmarshalMLS(d)
	default:
		d.Failf("neither a commit nor a proposal")
	}
}

// decodeWelcome reads a Welcome with or without the header of an MLSMessage: version and wire format. A bare one begins with
// its cipher suite and a length of more than 63.
func decodeWelcome(d *mls.Decoder) *mls.Welcome {
	if bytes.HasPrefix(d.Remaining(), []byte{0, byte(mls.MLS10), 0, byte(mls.WireWelcome)}) {
		d.Raw(4)
	}
	w := new(mls.Welcome)
	w.UnmarshalMLS(d)
	return w
}

// GroupInfoOption is a GroupInfo, whole or without what the hub can work out: exactly one is set.
type GroupInfoOption struct {
	Full    *mls.GroupInfo
	Partial *mls.PartialGroupInfo
}

const (
	groupInfoFull    = 1
	groupInfoPartial = 2
)

// MarshalMLS implements mls.Marshaler.
func (o *GroupInfoOption) MarshalMLS(e *mls.Encoder) {
	if o.Full != nil {
		e.Uint8(groupInfoFull)
		o.Full.MarshalMLS(e)
		return
	}
	e.Uint8(groupInfoPartial)
	o.Partial.MarshalMLS(e)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (o *GroupInfoOption) UnmarshalMLS(d *mls.Decoder) {
	*o = GroupInfoOption{}
	switch v := d.Uint8(); v {
	case groupInfoFull:
		o.Full = new(mls.GroupInfo)
		o.Full.UnmarshalMLS(d)
	case groupInfoPartial:
		o.Partial = new(mls.PartialGroupInfo)
		o.Partial.UnmarshalMLS(d)
	default:
		d.Failf("GroupInfo representation %d", v)
	}
}

// UpdateCode is an UpdateResponseCode.
type UpdateCode uint8

// The answers to an update.
const (
	UpdateSuccess         UpdateCode = 0
	UpdateWrongEpoch      UpdateCode = 1
	UpdateNotAllowed      UpdateCode = 2
	UpdateInvalidProposal UpdateCode = 3
)

// UpdateRoomResponse is the answer to an update (mimi-protocol-06 §5.3). Of a code that the draft does not know nothing but
// the description is read (reading A13).
type UpdateRoomResponse struct {
	Code        UpdateCode
	Description string            // of an error, for people
	Accepted    uint64            // Success: the hub's time in milliseconds since 1970
	Epoch       uint64            // WrongEpoch: the current epoch
	Invalid     []mls.ProposalRef // InvalidProposal; proposals by value have no reference (reading A14)
}

// MarshalMLS implements mls.Marshaler.
func (r *UpdateRoomResponse) MarshalMLS(e *mls.Encoder) {
	e.Uint8(uint8(r.Code))
	e.Opaque([]byte(r.Description))
	switch r.Code {
	case UpdateSuccess:
		e.Uint64(r.Accepted)
	case UpdateWrongEpoch:
		e.Uint64(r.Epoch)
	case UpdateInvalidProposal:
		e.Vector(func(e *mls.Encoder) {
			for _, ref := range r.Invalid {
				e.Opaque([]byte(ref))
			}
		})
	}
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *UpdateRoomResponse) UnmarshalMLS(d *mls.Decoder) {
	*r = UpdateRoomResponse{Code: UpdateCode(d.Uint8()), Description: string(d.Opaque())}
	switch r.Code {
	case UpdateSuccess:
		r.Accepted = d.Uint64()
	case UpdateWrongEpoch:
		r.Epoch = d.Uint64()
	case UpdateInvalidProposal:
		d.Vector(func(d *mls.Decoder) { r.Invalid = append(r.Invalid, mls.ProposalRef(d.Opaque())) })
	}
}
