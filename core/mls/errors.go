package mls

import "errors"

// Errors a caller acts on. All of them leave the group exactly as it was.
var (
	// ErrWrongGroup: the message belongs to another group.
	ErrWrongGroup = errors.New("mls: message of another group")
	// ErrWrongEpoch: a handshake message is not of the current epoch, or an application message is of a future
	// epoch or of one no longer kept.
	ErrWrongEpoch = errors.New("mls: wrong epoch")
	// ErrUnknownProposal: a commit refers to a proposal that has not been received.
	ErrUnknownProposal = errors.New("mls: unknown proposal")
	// ErrProposal: a proposal, or the proposals of a commit together, break a rule of RFC 9420 §12.1 or §12.2.
	ErrProposal = errors.New("mls: invalid proposal")
	// ErrCommit: a commit breaks a rule of RFC 9420 §12.4.
	ErrCommit = errors.New("mls: invalid commit")
	// ErrConfirmationTag: the commit's or GroupInfo's confirmation tag is wrong (RFC 9420 §6.1).
	ErrConfirmationTag = errors.New("mls: wrong confirmation tag")
	// ErrMembershipTag: a PublicMessage's membership tag is wrong (RFC 9420 §6.2).
	ErrMembershipTag = errors.New("mls: wrong membership tag")
	// ErrNotMember: the leaf is not one of ours, or the sender is not a member.
	ErrNotMember = errors.New("mls: not a member")
	// ErrOwnMessage: the message was sent by a local leaf; its content cannot be opened a second time.
	ErrOwnMessage = errors.New("mls: message of a local leaf")
	// ErrReplay: the message's generation has been used, or lies outside the window (RFC 9420 §9.1).
	ErrReplay = errors.New("mls: generation already used or out of the window")
	// ErrPendingCommit: a commit of our own is staged; merge or drop it first.
	ErrPendingCommit = errors.New("mls: a commit of our own is pending")
	// ErrGroupInfo: a GroupInfo or a partial one is incomplete or contradicts the group.
	ErrGroupInfo = errors.New("mls: invalid GroupInfo")
	// ErrWelcome: a Welcome is not for these key packages, or contradicts its tree.
	ErrWelcome = errors.New("mls: invalid Welcome")
	// ErrNeedWelcome: a local leaf is added by a remote commit whose path secrets only the Welcome carries.
	ErrNeedWelcome = errors.New("mls: the commit needs its Welcome")
	// ErrReInit: the group was closed by a ReInit; only the successor can be used (RFC 9420 §11.2).
	ErrReInit = errors.New("mls: group has been reinitialised")
	// ErrStep: a step was merged, settled or discarded out of turn.
	ErrStep = errors.New("mls: step out of turn")
	// ErrStorage: stored records are damaged or of an unknown version.
	ErrStorage = errors.New("mls: unusable stored state")
)
