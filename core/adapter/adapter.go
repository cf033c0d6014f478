// Package adapter is the contract between the gateway and the networks. An adapter carries events of one account on one network
// to the gateway, and the gateway's messages to the network. It knows nothing of rooms, MLS or other networks.
//
// # What crosses the border
//
// Events, outbound messages and answers are plain data: no readers, callbacks or pointers into anybody's state, so that an
// adapter can also run as a process of its own. Files cross as a [Blob], a handle. Ids are opaque text in the network's own
// form: [Conversation], [NativeID], [PersonID].
//
// # Order and repetition
//
// Within one conversation everything is in order: the adapter calls Receive for its events one after the other, in the network's
// order, and the gateway calls Send (and SetMember, SetState, SendReceipt…) one after the other. Different conversations may proceed
// at the same time, and a slow one must not hold up the others. Everything may be repeated after a crash: the gateway
// recognises an event by its conversation and id, and the adapter gives repeated Sends of one Key the same native ids.
//
// # Acknowledgement
//
// When Receive returns nil, the event is on the gateway's disk (unit T1), and only then may the network be told that it
// arrived (a transaction's 200, a receipt, a sync token that moves on). On an error it must be offered again.
//
// # Optional abilities
//
// Beside the three methods of Adapter there are the interfaces of optional.go, found by type assertion. An adapter states each
// that it has by a line such as
//
//	var _ adapter.Confirmer = (*Adapter)(nil)
package adapter

import (
	"context"
	"log/slog"

	"mimigate/core/content"
	"mimigate/core/uri"
)

// Adapter is one account on one network: a component, an application service, or somebody's login.
type Adapter interface {
	// Run connects and reports events to sink until ctx ends, and then returns nil with nothing of it still running. On any
	// other end it returns why, and the gateway runs it again, with backoff; after an error that wraps ErrAccount only when
	// somebody has acted. It reports each change of the account's state as an event with a Status. Methods other than Run may be
	// called at any time after the constructor, from several goroutines; while not connected they wait for the connection as
	// long as their ctx allows, or return an error that wraps ErrNotDelivered.
	Run(ctx context.Context, sink Sink) error

	// Send shows one message in one conversation and returns the native ids it got. It must
	//   - derive every native id, transaction id or origin id that it may choose from out.Marker.Key and the part's number,
	//     never from chance or the clock, so that a repetition is recognised by the network or by Confirm;
	//   - write out.Marker where the network has a place for it;
	//   - skip the parts listed in out.Done;
	//   - show out.Author natively or else name them in the text, as Limits says;
	//   - split a text longer than one native event holds (SplitText), with the author's name in each piece if in the text.
	// The message is already degraded to Limits. The gateway has recorded the attempt (unit T5), and calls Send for one
	// conversation only after the call before it has returned.
	//
	// An error that wraps ErrNotDelivered says that what Sent does not list was certainly not delivered. After any other
	// error the outcome is unknown: the gateway asks Confirmer, if the adapter has it, before it sends again. Sent is
	// valid beside an error: it lists the parts that did arrive.
	Send(ctx context.Context, out Outbound) (Sent, error)

	// Limits says what a conversation can show. It is cheap, does no I/O, and answers for unknown conversations with what the
	// network can show in general.
	Limits(Conversation) content.Limits
}

// Sink takes the events of an adapter.
type Sink interface {
	// Receive records an event. nil means that it will never be needed again, be it recorded or deliberately ignored:
	// acknowledge it. An error (the store is full or closing, ctx ended) means that it was not taken: do not acknowledge,
	// stop reporting this conversation, return from Run or offer the event again. Typing and Status are not recorded, and
	// nil says nothing about them.
	Receive(ctx context.Context, ev Event) error
}

// Driver is what an adapter's package offers to the table in bridges/bridges.go.
type Driver struct {
	// Name is the network, as in configuration: "matrix".
	Name string
	// Config returns a pointer to a new configuration struct with its defaults set. Package config decodes the account's keys
	// into it strictly. Every field has a `yaml:"name"` tag, and a `doc:"…"` tag of one sentence, from which the example
	// configuration is made; a type that holds a secret is Secret, whose text is a reference. The keys id, network and unbound
	// of an account belong to package config and are not in the struct.
	Config func() any
	// New makes the adapter of one account. It checks the configuration, does no network I/O and starts nothing.
	// An error about one key wraps a *KeyError, so that the file and line can be named.
	New func(Account) (Adapter, error)
	// Setup makes what a human must install on the network's side before the account works (`mimigate account setup`): files
	// to write and lines to add there. nil: nothing is needed. It does no network I/O.
	Setup func(Account) (Setup, error)
}

// Account is what the gateway gives to a driver: one configured account and its surroundings.
type Account struct {
	ID       string       // from configuration, e.g. "matrix-home"; unique among accounts
	Provider uri.Provider // ours, for the names and marks of our people on the network
	Language string       // of notices, RFC 5646
	Config   any          // what Driver.Config returned, decoded
	// Dir is a directory of the account's own, made on first use, for what a network's library insists on keeping in files.
	// It is part of backups. Where a file RestoredFile lies in it, the files beside it are of a backup.
	Dir   string
	State State
	Log   *slog.Logger // has the account as an attribute; no bodies, phone numbers or secrets go into it
}

// RestoredFile is the name of an empty file that restoring a backup leaves in each directory in which it has put files. Keys that change with
// each message may since have been used: an adapter that keeps such keys gives them up, and then removes the file (design §7).
const RestoredFile = "restored"

// State keeps small things of one account over restarts: sync tokens, the last archive id of a conversation, ids of our names
// on the network. It is durable when Put returns. It is not in the unit of work of an event, so a position is put after
// Receive has returned nil, never before; a crash between the two repeats events, which the gateway recognises.
type State interface {
	// Get returns the value of a key, or nil if there is none. Keys are the adapter's own, at most 255 octets.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put sets a key, or with nil removes it. Values are sealed at rest and at most 1 MiB.
	Put(ctx context.Context, key string, value []byte) error
}

// Secret is a reference to a secret in configuration, resolved by package config: file:/path, env:NAME, or
// systemd:NAME. After decoding it holds the secret itself; it prints as "(secret)".
type Secret string

// String returns "(secret)", or "" if there is none.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(secret)"
}

// LogValue implements slog.LogValuer like String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// GoString implements fmt.GoStringer like String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler like String: printed configurations and JSON logs hold no secrets.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Setup is what a human has to install on the network's side.
type Setup struct {
	Files []File
	// Say are the steps in order, each a sentence or a block to paste, in the account's language where we have it.
	Say []string
}

// File is a file to write beside the configuration.
type File struct {
	Path    string
	Content []byte
	Secret  bool // readable by its owner only
}
