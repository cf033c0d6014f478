package mimi

import (
	"fmt"

	"mimigate/core/mls"
)

// GroupInfoRequest asks a hub for what an external commit needs (mimi-protocol-06 §5.6).
type GroupInfoRequest struct {
	Suite        mls.CipherSuite // for the signatures of request and response, and the encryption
	SignatureKey []byte
	Credential   mls.Credential
	PublicKey    []byte // groupInfoPublicKey: the response is encrypted to it
	JoiningCode  []byte // empty: none
	Signature    []byte
}

const (
	labelGroupInfoRequest  = "GroupInfoRequestTBS"
	labelGroupInfoResponse = "GroupInfoResponseTBS"
	labelGroupInfo         = "GroupInfo and ratchet_tree encryption"
)

func (r *GroupInfoRequest) marshalHead(e *mls.Encoder) {
	encodeProtocol(e)
	e.Uint16(uint16(r.Suite))
	e.Opaque(r.SignatureKey)
	r.Credential.MarshalMLS(e)
	e.Opaque(r.PublicKey)
}

// tbs is what is signed: the joining code is optional in it, and in the message it is not (reading A23).
func (r *GroupInfoRequest) tbs(optional bool) []byte {
	var e mls.Encoder
	r.marshalHead(&e)
	switch {
	case !optional:
		e.Opaque(r.JoiningCode)
	default:
		e.Bool(len(r.JoiningCode) > 0)
		if len(r.JoiningCode) > 0 {
			e.Opaque(r.JoiningCode)
		}
	}
	return e.Bytes()
}

// MarshalMLS implements mls.Marshaler.
func (r *GroupInfoRequest) MarshalMLS(e *mls.Encoder) {
	r.marshalHead(e)
	e.Opaque(r.JoiningCode)
	e.Opaque(r.Signature)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *GroupInfoRequest) UnmarshalMLS(d *mls.Decoder) {
	*r = GroupInfoRequest{}
	decodeProtocol(d)
	r.Suite = mls.CipherSuite(d.Uint16())
	r.SignatureKey = d.Opaque()
	r.Credential.UnmarshalMLS(d)
	r.PublicKey, r.JoiningCode, r.Signature = d.Opaque(), d.Opaque(), d.Opaque()
}

// NewKey makes PublicKey, new for each request, and returns the private half, which opens the response: they are those of a
// key package that is used for nothing else. key is any signature key of the suite.
func (r *GroupInfoRequest) NewKey(t mls.Suites, key *mls.SignatureKey) (private []byte, err error) {
	secrets, err := mls.NewKeyPackage(&mls.Config{Suites: t}, r.Suite, mls.LeafTemplate{Credential: r.Credential, Signature: key})
	if err != nil {
		return nil, fmt.Errorf("GroupInfo request: %w", err)
	}
	r.PublicKey = secrets.KeyPackage.InitKey
	return secrets.InitKey, nil
}

// Sign signs the request with the key whose public half is SignatureKey.
func (r *GroupInfoRequest) Sign(t mls.Suites, key *mls.SignatureKey) error {
	var err error
	r.Signature, err = t.SignWithLabel(r.Suite, key, labelGroupInfoRequest, r.tbs(true))
	return err
}

// Verify checks the signature, over both forms that the draft gives. The error wraps [mls.ErrSignature] or [mls.ErrCipherSuite].
func (r *GroupInfoRequest) Verify(t mls.Suites) error {
	err := t.VerifyWithLabel(r.Suite, r.SignatureKey, labelGroupInfoRequest, r.tbs(true), r.Signature)
	if err != nil && t.VerifyWithLabel(r.Suite, r.SignatureKey, labelGroupInfoRequest, r.tbs(false), r.Signature) == nil {
		return nil
	}
	return err
}

// GroupInfoCode says whether a GroupInfo is given.
type GroupInfoCode uint8

// The answers to a GroupInfoRequest.
const (
	GroupInfoSuccess       GroupInfoCode = 1
	GroupInfoNotAuthorized GroupInfoCode = 2
	GroupInfoNoSuchRoom    GroupInfoCode = 3
)

// GroupInfoResponse answers a GroupInfoRequest (mimi-protocol-06 §5.6). What follows Code is there for Success alone (reading A25).
type GroupInfoResponse struct {
	Room      string
	Code      GroupInfoCode
	Suite     mls.CipherSuite
	Hub       mls.ExternalSender // as it stands in external_senders
	Encrypted mls.HPKECiphertext // a GroupInfoPlain
	Signature []byte
}

func (r *GroupInfoResponse) marshalTBS(e *mls.Encoder) {
	encodeProtocol(e)
	e.Opaque([]byte(r.Room))
	e.Uint8(uint8(r.Code))
	if r.Code == GroupInfoSuccess {
		e.Uint16(uint16(r.Suite))
		e.Opaque(r.Hub.SignatureKey)
		r.Hub.Credential.MarshalMLS(e)
		r.Encrypted.MarshalMLS(e)
	}
}

// MarshalMLS implements mls.Marshaler.
func (r *GroupInfoResponse) MarshalMLS(e *mls.Encoder) {
	r.marshalTBS(e)
	if r.Code == GroupInfoSuccess {
		e.Opaque(r.Signature)
	}
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *GroupInfoResponse) UnmarshalMLS(d *mls.Decoder) {
	*r = GroupInfoResponse{}
	decodeProtocol(d)
	r.Room, r.Code = string(d.Opaque()), GroupInfoCode(d.Uint8())
	if r.Code == GroupInfoSuccess {
		r.Suite = mls.CipherSuite(d.Uint16())
		r.Hub.SignatureKey = d.Opaque()
		r.Hub.Credential.UnmarshalMLS(d)
		r.Encrypted.UnmarshalMLS(d)
		r.Signature = d.Opaque()
	}
}

// GroupInfoPlain is what a GroupInfoResponse encrypts: GroupInfoRatchetTreeTBE.
type GroupInfoPlain struct {
	GroupInfo mls.GroupInfo // without ratchet_tree
	Tree      mls.RatchetTreeOption
	Pending   []PendingProposal
}

// PendingProposal is a proposal that the hub has accepted in the current epoch.
type PendingProposal struct {
	Proposal Message
	Accepted uint64 // milliseconds since 1970
}

// MarshalMLS implements mls.Marshaler.
func (p *GroupInfoPlain) MarshalMLS(e *mls.Encoder) {
	p.GroupInfo.MarshalMLS(e)
	p.Tree.MarshalMLS(e)
	e.Vector(func(e *mls.Encoder) {
		for _, q := range p.Pending {
			q.Proposal.MarshalMLS(e)
			e.Uint64(q.Accepted)
		}
	})
}

// UnmarshalMLS implements mls.Unmarshaler.
func (p *GroupInfoPlain) UnmarshalMLS(d *mls.Decoder) {
	*p = GroupInfoPlain{}
	p.GroupInfo.UnmarshalMLS(d)
	p.Tree.UnmarshalMLS(d)
	d.Vector(func(d *mls.Decoder) {
		var q PendingProposal
		q.Proposal.UnmarshalMLS(d)
		q.Accepted = d.Uint64()
		p.Pending = append(p.Pending, q)
	})
}

// Seal encrypts plain for the requester and signs the response as the hub. The context of the encryption is the room's URI,
// raw (reading A26).
func (r *GroupInfoResponse) Seal(t mls.Suites, to []byte, plain *GroupInfoPlain, key *mls.SignatureKey) error {
	var err error
	if r.Encrypted, err = t.EncryptWithLabel(r.Suite, to, labelGroupInfo, []byte(r.Room), mls.Marshal(plain)); err != nil {
		return err
	}
	var e mls.Encoder
	r.marshalTBS(&e)
	r.Signature, err = t.SignWithLabel(r.Suite, key, labelGroupInfoResponse, e.Bytes())
	return err
}

// Open verifies the signature by the key in the response and decrypts. The caller checks that Hub stands in external_senders
// of the GroupInfo, and the room.
func (r *GroupInfoResponse) Open(t mls.Suites, private []byte) (*GroupInfoPlain, error) {
	var e mls.Encoder
	r.marshalTBS(&e)
	if err := t.VerifyWithLabel(r.Suite, r.Hub.SignatureKey, labelGroupInfoResponse, e.Bytes(), r.Signature); err != nil {
		return nil, fmt.Errorf("GroupInfo response: %w", err)
	}
	data, err := t.DecryptWithLabel(r.Suite, private, labelGroupInfo, []byte(r.Room), r.Encrypted)
	if err != nil {
		return nil, fmt.Errorf("GroupInfo response: %w", err)
	}
	plain := new(GroupInfoPlain)
	return plain, mls.Unmarshal(data, plain)
}
