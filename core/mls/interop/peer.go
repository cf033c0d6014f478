// Package interop drives foreign MLS implementations against each other and against our own engine (core/mls). It is a module of its
// own so that the foreign libraries never become dependencies of the product.
//
// Everything crosses between implementations as the bytes of RFC 9420: an MLSMessage (§6) for key packages, Welcomes, GroupInfos,
// proposals, commits and application messages; the content of the ratchet_tree extension (§12.4.3.3) for a tree handed over separately.
//
// What each peer cannot do is declared, never skipped: an Implementation lists its Limits, and Run demands that a scenario needing a
// limited feature really fails, so that a limit which no longer holds is noticed.
//
//	| feature              | mls-go v1.6.0                                     | ts-mls 2.0.0-rc.10 (mended as tsmls/mends.mjs says)   |
//	|----------------------|---------------------------------------------------|-------------------------------------------------------|
//	| suites               | 1, 2, 3, 5                                        | 1, 2, 3, 5, 7, X-Wing (TBD1, TBD2)                    |
//	| CommitAAD            | no: the commit is signed inside the library with  | yes                                                   |
//	|                      | empty authenticated data                          |                                                       |
//	| SeparateTree         | no: JoinFromWelcome reads only the extension      | yes                                                   |
//	| CustomExtensions     | no: joining refuses any GroupContext extension    | yes, enforced against capabilities                    |
//	|                      | beyond RFC 9420's, capabilities are fixed         |                                                       |
//	| OutsideProposals     | no API to author them (it does accept them)       | yes                                                   |
//	| ExternalCommitAAD    | no                                                | yes                                                   |
//	| ExternalCommitMore   | no                                                | yes, mended                                           |
//	| DraftProposals       | no: proposal types are a closed set               | yes, mended (tsmls/draft.mjs)                         |
//	| ClearExtensions      | yes                                               | no: an empty GroupContextExtensions changes nothing   |
//	| LateFromRemoved      | no: old epochs are kept with the new tree         | yes                                                   |
//	| PaddedHandshakes     | no: its parser looks for a body that leaves no    | yes                                                   |
//	|                      | rest, so padding makes it fail                    |                                                       |
//	| RequireCapability    | no: reads five vectors where RFC 9420 §11.1 has   | yes                                                   |
//	|                      | three                                             |                                                       |
//
// What callers meet besides: mls-go repeats the GroupContext's extensions in each GroupInfo; the GroupInfo of its epoch 0 has an empty
// confirmation tag; it starts epoch 0 from zeros, not from a random secret; neither peer sends application messages while a
// proposal is pending.
package interop

import (
	"context"
	"errors"
)

// Suite is an MLS cipher suite (RFC 9420 §17.1): its code point on the wire and the name by which a peer knows how to build it. The
// post-quantum suites have no assigned code point yet, so the same name may travel under different numbers.
type Suite struct {
	Code uint16
	Name string
}

// Suites of RFC 9420 §17.1 that the standard library's crypto/hpke can carry.
var (
	X25519AES128   = Suite{1, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"}
	P256AES128     = Suite{2, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256"}
	X25519ChaCha20 = Suite{3, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519"}
	P521AES256     = Suite{5, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521"}
	P384AES256     = Suite{7, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384"}
)

// Suites TBD1 and TBD2 of draft-ietf-mls-pq-ciphersuites-05, under the code points of our engine's default table, since there are none
// assigned. A Suite of another number and the same name works as well.
var (
	XWingAES128 = Suite{0xf101, "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519"}
	XWingAES256 = Suite{0xf102, "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519"}
)

// Feature names something an implementation may be unable to do.
type Feature string

// The features a peer may declare in its Limits. Whatever is not a Feature every peer must be able to do.
const (
	CommitAAD          Feature = "commit with authenticated data"
	SeparateTree       Feature = "join by a Welcome whose ratchet tree comes separately"
	CustomExtensions   Feature = "GroupContext extensions of types RFC 9420 does not define"
	OutsideProposals   Feature = "author proposals as external sender or new member"
	ExternalCommitAAD  Feature = "external commit with authenticated data"
	ExternalCommitMore Feature = "external commit with PSK, AppDataUpdate or SelfRemove"
	DraftProposals     Feature = "AppDataUpdate, AppEphemeral and SelfRemove"
	ClearExtensions    Feature = "remove all GroupContext extensions"
	LateFromRemoved    Feature = "open a late message of a member removed since"
	PaddedHandshakes   Feature = "read a padded PrivateMessage that holds a proposal or commit"
	RequireCapability  Feature = "required_capabilities in the GroupContext"
)

// ErrCannot is returned by an adapter whose library has no way to do what was asked.
var ErrCannot = errors.New("interop: the library cannot do this")

// Implementation is one MLS library.
type Implementation interface {
	// Name is short and unique, for the names of subtests.
	Name() string
	// Suites lists the cipher suites the library and its adapter can use.
	Suites() []Suite
	// Limits maps each feature the library lacks to the reason.
	Limits() map[Feature]string
	// NewClient makes a client with a Basic credential and a signature key of its own.
	NewClient(ctx context.Context, suite Suite, identity string) (Client, error)
	// Close ends the library's process, if it has one, and waits for it.
	Close() error
}

// Client is one device: one signature key, and at most one group.
type Client interface {
	// KeyPackage returns a fresh key package as an MLSMessage; the client keeps its private keys.
	KeyPackage(ctx context.Context) ([]byte, error)
	// Create makes a group of which the client is the only member (RFC 9420 §11).
	Create(ctx context.Context, groupID []byte, extensions []Extension) (Group, error)
	// Join enters a group by a Welcome (RFC 9420 §12.4.3.1). tree is nil where the Welcome carries the ratchet tree.
	Join(ctx context.Context, welcome, tree []byte) (Group, error)
	// JoinExternal enters a group by an external commit (RFC 9420 §12.4.3.2) and returns the commit to be delivered to the members.
	JoinExternal(ctx context.Context, join ExternalJoin) (Group, []byte, error)
	// AddPSK makes an external pre-shared key known (RFC 9420 §8.4).
	AddPSK(ctx context.Context, id, secret []byte) error
	// Close forgets the client and its group.
	Close() error
}

// Outsider is a Client that can propose without being a member (RFC 9420 §12.1.8).
type Outsider interface {
	// ExternalSender returns the client's ExternalSender structure for the external_senders extension.
	ExternalSender(ctx context.Context) ([]byte, error)
	// ProposeExternal authors a proposal as an external sender of the group that info describes.
	ProposeExternal(ctx context.Context, info GroupInfo, proposal Proposal, aad []byte) ([]byte, error)
	// ProposeJoin authors an Add of the client itself (sender type new_member_proposal).
	ProposeJoin(ctx context.Context, info GroupInfo, aad []byte) ([]byte, error)
}

// Group is a client's membership in a group.
type Group interface {
	View
	// Commit commits every pending proposal the group has seen this epoch by reference (the committer's own Update left out), then the
	// given proposals by value, and moves this member to the next epoch at once.
	Commit(ctx context.Context, commit Commit) (Committed, error)
	// Propose authors a proposal for others to commit, and remembers it as pending.
	Propose(ctx context.Context, proposal Proposal, framing Framing) ([]byte, error)
	// Protect encrypts an application message (RFC 9420 §6.3).
	Protect(ctx context.Context, plaintext, aad []byte) ([]byte, error)
	// Process takes any message of another member or of an outsider.
	Process(ctx context.Context, message []byte) (Received, error)
}

// View reads a group's present epoch.
type View interface {
	// State returns what all members must agree on.
	State(ctx context.Context) (State, error)
	// Export runs the exporter of RFC 9420 §8.5; length is in bytes.
	Export(ctx context.Context, label string, context []byte, length int) ([]byte, error)
	// GroupInfo returns a signed GroupInfo with external_pub (RFC 9420 §12.4.3), with the ratchet_tree extension if embedTree is set.
	GroupInfo(ctx context.Context, embedTree bool) (GroupInfo, error)
}

// Extension is an extension of the GroupContext (RFC 9420 §13.4).
type Extension struct {
	Type uint16 `json:"type"`
	Data []byte `json:"data"`
}

// GroupInfo is a GroupInfo as MLSMessage and, always, the ratchet tree as the content of a ratchet_tree extension.
type GroupInfo struct {
	Message []byte `json:"message"`
	Tree    []byte `json:"tree"`
}

// ExternalJoin says how to join by external commit. Tree is nil where Info carries the tree. Resync removes the client's former leaf,
// found by its signature key. Proposals are committed by value: kinds ExternalPSK and AppDataUpdate. Pending are SelfRemoves as the
// MLSMessages in which they were sent, committed by reference.
type ExternalJoin struct {
	Info      []byte
	Tree      []byte
	Resync    bool
	AAD       []byte
	Proposals []Proposal
	Pending   [][]byte
}

// Framing says how a handshake message is framed: as PublicMessage or as PrivateMessage, the latter padded or not; with authenticated
// data or none.
type Framing struct {
	Private bool   `json:"private"`
	Pad     bool   `json:"pad"`
	AAD     []byte `json:"aad"`
}

// Commit says what to commit by value, and how. OmitTree leaves the ratchet_tree extension out of the Welcome.
type Commit struct {
	Framing
	Proposals []Proposal `json:"proposals"`
	OmitTree  bool       `json:"omitTree"`
}

// Committed is the commit and, where it adds anyone, one Welcome for all of them, both as MLSMessage.
type Committed struct {
	Commit  []byte `json:"commit"`
	Welcome []byte `json:"welcome"`
}

// Kind is a proposal type in the interop harness.
type Kind string

// The kinds of Proposal. PathUpdate is no kind: a Commit without any proposal is one.
const (
	Add             Kind = "add"
	Update          Kind = "update"
	Remove          Kind = "remove"
	ExternalPSK     Kind = "psk"
	ResumptionPSK   Kind = "resumption"
	GroupExtensions Kind = "extensions"
	AppDataUpdate   Kind = "appDataUpdate" // draft-ietf-mls-extensions-10 §4.7, operation update; it replaces the component's data
	AppDataRemove   Kind = "appDataRemove" // the same, operation remove
	AppEphemeral    Kind = "appEphemeral"  // draft-ietf-mls-extensions-10 §4.8
	SelfRemove      Kind = "selfRemove"    // draft-ietf-mls-extensions-10 §5.1; to be proposed as PublicMessage
)

// Proposal is a proposal of RFC 9420 §12.1. Which field counts depends on Kind.
type Proposal struct {
	Kind       Kind        `json:"kind"`
	KeyPackage []byte      `json:"keyPackage,omitempty"` // Add: a KeyPackage as MLSMessage
	Leaf       uint32      `json:"leaf"`                 // Remove
	PSK        []byte      `json:"psk,omitempty"`        // ExternalPSK: its id; the nonce is the author's to choose
	Epoch      uint64      `json:"epoch"`                // ResumptionPSK: an epoch of this group, usage application
	Extensions []Extension `json:"extensions,omitempty"` // GroupExtensions
	Component  uint16      `json:"component"`            // AppDataUpdate, AppDataRemove, AppEphemeral
	Data       []byte      `json:"data,omitempty"`       // AppDataUpdate, AppEphemeral
}

// Content says what a processed message was.
type Content string

// The contents a processed message can have.
const (
	ApplicationMessage Content = "application"
	ProposalMessage    Content = "proposal"
	CommitMessage      Content = "commit"
)

// Received is the outcome of Process. Sender is a leaf index, and NoLeaf where the sender has none. Removed is set when a commit
// removed this member; the group is then of no more use.
type Received struct {
	Content   Content `json:"content"`
	Plaintext []byte  `json:"plaintext"`
	AAD       []byte  `json:"aad"`
	Sender    int64   `json:"sender"`
	Removed   bool    `json:"removed"`
}

// NoLeaf is the Sender of a message from outside the group.
const NoLeaf int64 = -1

// State is an epoch as seen by one member.
type State struct {
	Epoch         uint64      `json:"epoch"`
	Authenticator []byte      `json:"authenticator"` // RFC 9420 §8.7
	TreeHash      []byte      `json:"treeHash"`
	Leaf          uint32      `json:"leaf"`    // this member's leaf index
	Members       int         `json:"members"` // non-blank leaves
	Extensions    []Extension `json:"extensions"`
}
