package content

import (
	"iter"
	"strings"
	"time"
)

// Part is a NestedPart (mimi-content-09 §4.4). What it holds is in Body: nil for a NullPart, else a Single, External or Multi.
//
//	switch body := part.Body.(type) {
//	case nil: // nothing: a deletion
//	case content.Single: …
//	case content.External: …
//	case content.Multi: …
//	}
type Part struct {
	Disposition Disposition
	Language    string // RFC 5646 tag; may be empty
	Body        Body
	// Media says about a picture, sound, film or sticker what its content type cannot; zero: nothing. It travels in the
	// extension ExtensionMedia.
	Media Media
}

// Body is what a part holds: nil, Single, External or Multi, nothing else.
type Body interface{ body() }

// Single is a part with its content in the message: text mostly, or a small file.
type Single struct {
	ContentType string // media type with parameters, e.g. TypeMarkdown
	Content     []byte
}

// External is a part whose content is fetched from a URL: a file, or (Disposition Session) a call to join.
type External struct {
	ContentType string // empty for a call
	// URL is where the content is. In events and outbound messages of adapters it may be a blob handle (see adapter.Blob).
	URL     string
	Expires uint32 // UNIX seconds after which the URL may fail; 0: not said
	Size    uint64 // octets that the URL serves; 0: not known
	// EncAlg is the AEAD (IANA registry) that the content is encrypted with: EncNone or EncAES128GCM. Without one, Key, Nonce
	// and AAD are empty.
	EncAlg          uint16
	Key, Nonce, AAD []byte
	// HashAlg (IANA Named Information registry) and Hash of what the URL serves, so of the ciphertext.
	HashAlg     uint8
	Hash        []byte
	Description string // a caption, or the name of a call
	Filename    string // as the sender wrote it: never a path to trust
}

// Multi is a part made of at least two parts.
type Multi struct {
	Semantics PartSemantics
	Parts     []Part
}

func (Single) body()   {}
func (External) body() {}
func (Multi) body()    {}

// Algorithms of External parts.
const (
	EncNone      uint16 = 0
	EncAES128GCM uint16 = 1 // 16-octet key, 12-octet nonce, tag appended: the one every receiver must know
	HashNone     uint8  = 0
	HashSHA256   uint8  = 1
)

// Disposition says what a part is for (mimi-content-09 §4.4). Unknown ones are treated as Render and kept.
type Disposition uint8

// The dispositions that mimi-content-09 defines.
const (
	Unspecified Disposition = iota
	Render                  // show it in the conversation
	Reaction                // a reaction to the message in InReplyTo
	Profile                 // a picture or sound of the sender
	Inline                  // shown where another part refers to it
	Icon                    // a small picture of the conversation or sender
	Attachment              // a file to offer for download
	Session                 // a call to join
	Preview                 // a preview of a link
)

// PartSemantics says how the parts of a Multi belong together (mimi-content-09 §4.4).
type PartSemantics uint8

// The part semantics that mimi-content-09 defines; a message with any other is discarded.
const (
	ChooseOne  PartSemantics = iota // the same in several forms: show the best you can
	SingleUnit                      // all or nothing, e.g. a picture with its caption
	ProcessAll                      // each for itself, e.g. an album
)

// Media types of mimigate's messages.
const (
	TypeMessage  = "application/mimi-content" // of a whole encoded Message
	TypeText     = "text/plain;charset=utf-8"
	TypeMarkdown = "text/markdown;variant=GFM-MIMI" // our form of all text that has formatting or mentions
	TypeHTML     = "text/html;charset=utf-8"
	TypeContact  = "text/vcard"
	TypeCalendar = "text/calendar"
	TypeLocation = "application/geo+json"
	TypeStatus   = "application/mimi-message-status"      // draft-mahy-mimi-message-status-01; never shown in a conversation
	TypePoll     = "application/vnd.mimigate.poll+cbor"   // beside a text form, in a ChooseOne
	TypeVote     = "application/vnd.mimigate.vote+cbor"   // in reply to the poll
	TypeNotice   = "application/vnd.mimigate.notice+cbor" // something happened that is no message, e.g. a missed call; beside a text form
)

// Media is what networks tell about pictures, sounds and films; zero fields: not known, not so.
type Media struct {
	Role          MediaRole
	Width, Height uint32        // pixels
	Duration      time.Duration // to the millisecond
	ViewOnce      bool          // the sender wished it to be seen once: announced, not copied
}

// IsZero reports whether nothing is said.
func (m Media) IsZero() bool { return m == Media{} }

// MediaRole tells apart what content types do not.
type MediaRole uint8

// Roles of a media part.
const (
	MediaPlain   MediaRole = iota
	MediaFile              // sent as a file, not to be shown, whatever its type
	MediaVoice             // spoken into the messenger: audio/*
	MediaSticker           // image/*
	MediaLoop              // plays by itself, silent, over and over: a GIF, mostly as video/mp4
	MediaRound             // a video note
)

// IsNull reports whether p is a NullPart.
func (p Part) IsNull() bool { return p.Body == nil }

// MediaType returns the type and subtype of a Single or External in lower case, without parameters; else "".
func (p Part) MediaType() string {
	var t string
	switch body := p.Body.(type) {
	case Single:
		t = body.ContentType
	case External:
		t = body.ContentType
	}
	t, _, _ = strings.Cut(t, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// IsText reports whether p holds plain text or Markdown in the message.
func (p Part) IsText() bool {
	if _, ok := p.Body.(Single); !ok {
		return false
	}
	t := p.MediaType()
	return t == "text/plain" || t == "text/markdown"
}

// Walk yields p and all parts below it depth first, with their part index (mimi-content-09 §4.4: p itself is 0).
func (p Part) Walk() iter.Seq2[int, Part] {
	return func(yield func(int, Part) bool) {
		index := 0
		var walk func(Part) bool
		walk = func(p Part) bool {
			if !yield(index, p) {
				return false
			}
			index++
			if multi, ok := p.Body.(Multi); ok {
				for _, child := range multi.Parts {
					if !walk(child) {
						return false
					}
				}
			}
			return true
		}
		walk(p)
	}
}

// Kind returns what p alone is, for the table of Degrade: a kind of media by its type, role and disposition, or KindAlbum,
// KindCaptioned, KindText, KindFormatted, KindPoll and so on. A ChooseOne is the first of its parts that is more than text.
// A part that nothing fits is a KindFile.
func (p Part) Kind() Kind {
	switch body := p.Body.(type) {
	case nil:
		return KindDelete
	case Multi:
		return p.multiKind(body)
	case Single, External:
		return p.leafKind()
	}
	return KindFile
}

func (p Part) leafKind() Kind {
	switch {
	case p.Disposition == Reaction:
		return KindReaction
	case p.Disposition == Session:
		return KindCall
	case p.Disposition == Preview:
		return KindLinkPreview
	case p.Media.Role == MediaFile:
		return KindFile
	case p.Media.Role == MediaSticker:
		return KindSticker
	case p.Media.Role == MediaVoice:
		return KindVoice
	}
	t := p.MediaType()
	kind, ok := kindOfType[t]
	if !ok {
		major, _, _ := strings.Cut(t, "/")
		if kind, ok = kindOfType[major]; !ok {
			return KindFile
		}
	}
	if kind == KindText || kind == KindFormatted {
		if _, external := p.Body.(External); external || p.Disposition == Attachment {
			return KindFile
		}
	}
	return kind
}

// kindOfType gives the kind of a media type, or of its first half.
var kindOfType = map[string]Kind{
	"text/plain":               KindText,
	"text/markdown":            KindFormatted,
	"text/html":                KindFormatted,
	TypeContact:                KindContact,
	"text/x-vcard":             KindContact,
	TypeCalendar:               KindCalendar,
	TypeLocation:               KindLocation,
	TypePoll:                   KindPoll,
	TypeVote:                   KindVote,
	TypeStatus:                 KindStatus,
	TypeNotice:                 KindNotice,
	"application/vnd.geo+json": KindLocation,
	"image":                    KindImage,
	"video":                    KindVideo,
	"audio":                    KindAudio,
}

func (p Part) multiKind(m Multi) Kind {
	if p.Disposition == Reaction {
		return KindReaction
	}
	media, texts, preview := 0, 0, false
	first := KindText
	for _, child := range m.Parts {
		kind := child.Kind()
		switch kind {
		case KindText, KindFormatted:
			texts++
		case KindLinkPreview:
			preview = true
			continue
		default:
			media++
		}
		if first == KindText {
			first = kind
		}
	}
	switch {
	case m.Semantics == ChooseOne:
		return bestOf(m.Parts)
	case media == 0 && preview:
		return KindLinkPreview
	case media == 1 && texts > 0:
		return KindCaptioned
	case media > 0:
		return KindAlbum
	}
	return first
}

// bestOf is the kind of a ChooseOne: its first part that is more than text, else formatted text before plain. A part of an
// unknown type (KindFile) counts only where nothing else is offered.
func bestOf(parts []Part) Kind {
	best := KindFile
	for _, child := range parts {
		switch kind := child.Kind(); kind {
		case KindFile:
		case KindText:
			if best == KindFile {
				best = KindText
			}
		case KindFormatted:
			best = KindFormatted
		default:
			return kind
		}
	}
	return best
}
