package mls

// WireFormat is the code point of an MLSMessage body (RFC 9420 §17.2).
type WireFormat uint16

// Wire formats.
const (
	WirePublicMessage  WireFormat = 1
	WirePrivateMessage WireFormat = 2
	WireWelcome        WireFormat = 3
	WireGroupInfo      WireFormat = 4
	WireKeyPackage     WireFormat = 5
)

// ContentType says what a FramedContent holds (RFC 9420 §6).
type ContentType uint8

// Content types.
const (
	ContentApplication ContentType = 1
	ContentProposal    ContentType = 2
	ContentCommit      ContentType = 3
)

// SenderType says who made a FramedContent (RFC 9420 §6).
type SenderType uint8

// Sender types.
const (
	SenderMember            SenderType = 1
	SenderExternal          SenderType = 2
	SenderNewMemberProposal SenderType = 3
	SenderNewMemberCommit   SenderType = 4
)

// LeafIndex is the position of a member's leaf, counted from 0 on the left (RFC 9420 §4.1.1).
type LeafIndex uint32

// Sender is RFC 9420 §6. Index is a leaf index for a member, and the position in external_senders for
// an external sender.
type Sender struct {
	Type  SenderType
	Index uint32
}

// Leaf returns the sender's leaf index; meaningful for members only.
func (s Sender) Leaf() LeafIndex { return LeafIndex(s.Index) }

// MarshalMLS implements [Marshaler].
func (s Sender) MarshalMLS(e *Encoder) {
	e.Uint8(uint8(s.Type))
	if s.Type == SenderMember || s.Type == SenderExternal {
		e.Uint32(s.Index)
	}
}

// UnmarshalMLS implements [Unmarshaler].
func (s *Sender) UnmarshalMLS(d *Decoder) {
	*s = Sender{Type: SenderType(d.Uint8())}
	switch s.Type {
	case SenderMember, SenderExternal:
		s.Index = d.Uint32()
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		d.Failf("sender type %d", s.Type)
	}
}

// FramedContent is RFC 9420 §6. Exactly the field that ContentType names is set.
type FramedContent struct {
	GroupID           []byte
	Epoch             uint64
	Sender            Sender
	AuthenticatedData []byte
	ContentType       ContentType
	Application       []byte
	Proposal          *Proposal
	Commit            *Commit
}

func (c *FramedContent) marshalBody(e *Encoder) {
	switch c.ContentType {
	case ContentApplication:
		e.Opaque(c.Application)
	case ContentProposal:
		c.Proposal.MarshalMLS(e)
	case ContentCommit:
		c.Commit.MarshalMLS(e)
	}
}

func (c *FramedContent) unmarshalBody(d *Decoder) {
	switch c.ContentType {
	case ContentApplication:
		c.Application = d.Opaque()
	case ContentProposal:
		orNew(&c.Proposal).UnmarshalMLS(d)
	case ContentCommit:
		orNew(&c.Commit).UnmarshalMLS(d)
	default:
		d.Failf("content type %d", c.ContentType)
	}
}

// MarshalMLS implements [Marshaler].
func (c *FramedContent) MarshalMLS(e *Encoder) {
	e.Opaque(c.GroupID)
	e.Uint64(c.Epoch)
	c.Sender.MarshalMLS(e)
	e.Opaque(c.AuthenticatedData)
	e.Uint8(uint8(c.ContentType))
	c.marshalBody(e)
}

// UnmarshalMLS implements [Unmarshaler].
func (c *FramedContent) UnmarshalMLS(d *Decoder) {
	*c = FramedContent{GroupID: d.Opaque(), Epoch: d.Uint64()}
	c.Sender.UnmarshalMLS(d)
	c.AuthenticatedData = d.Opaque()
	c.ContentType = ContentType(d.Uint8())
	c.unmarshalBody(d)
}

// FramedContentAuthData is RFC 9420 §6.1. ConfirmationTag is present for commits only.
type FramedContentAuthData struct {
	Signature       []byte
	ConfirmationTag []byte
}

func (a *FramedContentAuthData) marshal(e *Encoder, t ContentType) {
	e.Opaque(a.Signature)
	if t == ContentCommit {
		e.Opaque(a.ConfirmationTag)
	}
}

func (a *FramedContentAuthData) unmarshal(d *Decoder, t ContentType) {
	a.Signature = d.Opaque()
	if t == ContentCommit {
		a.ConfirmationTag = d.Opaque()
	}
}

// AuthenticatedContent is RFC 9420 §6: content with its wire format and authentication.
type AuthenticatedContent struct {
	WireFormat WireFormat
	Content    FramedContent
	Auth       FramedContentAuthData
}

// MarshalMLS implements [Marshaler].
func (a *AuthenticatedContent) MarshalMLS(e *Encoder) {
	e.Uint16(uint16(a.WireFormat))
	a.Content.MarshalMLS(e)
	a.Auth.marshal(e, a.Content.ContentType)
}

// UnmarshalMLS implements [Unmarshaler].
func (a *AuthenticatedContent) UnmarshalMLS(d *Decoder) {
	a.WireFormat = WireFormat(d.Uint16())
	a.Content.UnmarshalMLS(d)
	a.Auth.unmarshal(d, a.Content.ContentType)
}

// tbs is FramedContentTBS (RFC 9420 §6.1) in two parts; context is the serialised GroupContext of the content's epoch.
func (a *AuthenticatedContent) tbs(context []byte) (content, covered []byte) {
	e := NewEncoder(256 + len(a.Content.Application) + len(a.Content.AuthenticatedData))
	e.Uint16(uint16(MLS10))
	e.Uint16(uint16(a.WireFormat))
	a.Content.MarshalMLS(e)
	if a.Content.Sender.Type == SenderMember || a.Content.Sender.Type == SenderNewMemberCommit {
		covered = context
	}
	return e.Bytes(), covered
}

// membershipTag is the MAC over AuthenticatedContentTBM (RFC 9420 §6.2).
func (a *AuthenticatedContent) membershipTag(s *suite, key, context []byte) []byte {
	content, covered := a.tbs(context)
	var auth Encoder
	a.Auth.marshal(&auth, a.Content.ContentType)
	return s.mac(key, content, covered, auth.Bytes())
}

func (a *AuthenticatedContent) sign(s *suite, key *SignatureKey, context []byte) (err error) {
	content, covered := a.tbs(context)
	a.Auth.Signature, err = s.sign(key, "FramedContentTBS", content, covered)
	return err
}

func (a *AuthenticatedContent) verify(s *suite, public, context []byte) error {
	content, covered := a.tbs(context)
	return s.verify(public, "FramedContentTBS", a.Auth.Signature, content, covered)
}

// proposalRef is the ProposalRef of a proposal's AuthenticatedContent (RFC 9420 §5.2).
func (a *AuthenticatedContent) proposalRef(s *suite) ProposalRef {
	return ProposalRef(s.refHash("MLS 1.0 Proposal Reference", Marshal(a)))
}

// PublicMessage is RFC 9420 §6.2. MembershipTag is present for senders of type member only.
type PublicMessage struct {
	Content       FramedContent
	Auth          FramedContentAuthData
	MembershipTag []byte
}

// MarshalMLS implements [Marshaler].
func (m *PublicMessage) MarshalMLS(e *Encoder) {
	m.Content.MarshalMLS(e)
	m.Auth.marshal(e, m.Content.ContentType)
	if m.Content.Sender.Type == SenderMember {
		e.Opaque(m.MembershipTag)
	}
}

// UnmarshalMLS implements [Unmarshaler].
func (m *PublicMessage) UnmarshalMLS(d *Decoder) {
	m.Content.UnmarshalMLS(d)
	m.Auth.unmarshal(d, m.Content.ContentType)
	if m.Content.Sender.Type == SenderMember {
		m.MembershipTag = d.Opaque()
	}
}

func (m *PublicMessage) authenticated() *AuthenticatedContent {
	return &AuthenticatedContent{WireFormat: WirePublicMessage, Content: m.Content, Auth: m.Auth}
}

// PrivateMessage is RFC 9420 §6.3.
type PrivateMessage struct {
	GroupID             []byte
	Epoch               uint64
	ContentType         ContentType
	AuthenticatedData   []byte
	EncryptedSenderData []byte
	Ciphertext          []byte
}

// MarshalMLS implements [Marshaler].
func (m *PrivateMessage) MarshalMLS(e *Encoder) {
	e.Opaque(m.GroupID)
	e.Uint64(m.Epoch)
	e.Uint8(uint8(m.ContentType))
	e.Opaque(m.AuthenticatedData)
	e.Opaque(m.EncryptedSenderData)
	e.Opaque(m.Ciphertext)
}

// UnmarshalMLS implements [Unmarshaler].
func (m *PrivateMessage) UnmarshalMLS(d *Decoder) {
	*m = PrivateMessage{GroupID: d.Opaque(), Epoch: d.Uint64(), ContentType: ContentType(d.Uint8())}
	if m.ContentType < ContentApplication || m.ContentType > ContentCommit {
		d.Failf("content type %d", m.ContentType)
	}
	m.AuthenticatedData = d.Opaque()
	m.EncryptedSenderData = d.Opaque()
	m.Ciphertext = d.Opaque()
}

// Message is MLSMessage (RFC 9420 §6). Exactly the field that WireFormat names is set.
type Message struct {
	WireFormat WireFormat
	Public     *PublicMessage
	Private    *PrivateMessage
	Welcome    *Welcome
	GroupInfo  *GroupInfo
	KeyPackage *KeyPackage
}

// wireBody is the body of an MLSMessage.
type wireBody interface {
	Marshaler
	Unmarshaler
}

// body returns the field that WireFormat names, made if it is not there; nil for a format we do not know.
func (m *Message) body() wireBody {
	switch m.WireFormat {
	case WirePublicMessage:
		return orNew(&m.Public)
	case WirePrivateMessage:
		return orNew(&m.Private)
	case WireWelcome:
		return orNew(&m.Welcome)
	case WireGroupInfo:
		return orNew(&m.GroupInfo)
	case WireKeyPackage:
		return orNew(&m.KeyPackage)
	}
	return nil
}

func orNew[T any](p **T) *T {
	if *p == nil {
		*p = new(T)
	}
	return *p
}

// MarshalMLS implements [Marshaler].
func (m *Message) MarshalMLS(e *Encoder) {
	e.Uint16(uint16(MLS10))
	e.Uint16(uint16(m.WireFormat))
	m.body().MarshalMLS(e)
}

// UnmarshalMLS implements [Unmarshaler].
func (m *Message) UnmarshalMLS(d *Decoder) {
	if v := d.Uint16(); v != uint16(MLS10) {
		d.Failf("protocol version %d", v)
		return
	}
	*m = Message{WireFormat: WireFormat(d.Uint16())}
	if body := m.body(); body != nil {
		body.UnmarshalMLS(d)
	} else {
		d.Failf("wire format %#04x", m.WireFormat)
	}
}

// ParseMessage decodes one MLSMessage. The error wraps [ErrSyntax].
func ParseMessage(data []byte) (*Message, error) {
	m := new(Message)
	if err := Unmarshal(data, m); err != nil {
		return nil, err
	}
	return m, nil
}

// GroupID returns the group a message belongs to, where it says so (not for Welcome and KeyPackage).
func (m *Message) GroupID() []byte {
	switch m.WireFormat {
	case WirePublicMessage:
		return m.Public.Content.GroupID
	case WirePrivateMessage:
		return m.Private.GroupID
	case WireGroupInfo:
		return m.GroupInfo.Context.GroupID
	}
	return nil
}

// Epoch returns the epoch a PublicMessage, PrivateMessage or GroupInfo was made in, else 0.
func (m *Message) Epoch() uint64 {
	switch m.WireFormat {
	case WirePublicMessage:
		return m.Public.Content.Epoch
	case WirePrivateMessage:
		return m.Private.Epoch
	case WireGroupInfo:
		return m.GroupInfo.Context.Epoch
	}
	return 0
}
