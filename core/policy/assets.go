package policy

import (
	"slices"
	"strings"
)

// UploadLocation says where assets must lie (mimi-room-policy-04 §6.4).
type UploadLocation uint8

// The values on the wire.
const (
	UploadAnywhere      UploadLocation = 0
	UploadLocalProvider UploadLocation = 1
	UploadHub           UploadLocation = 2
)

// Download is a way to fetch an asset (mimi-protocol-06 §5.10).
type Download uint8

// The values on the wire.
const (
	DownloadDirect   Download = 0
	DownloadHubProxy Download = 1
	DownloadOHTTP    Download = 2
)

// Assets is the asset_policy (mimi-room-policy-04 §6.4). Sizes are in bytes.
type Assets struct {
	Location          UploadLocation
	Domains           []UploadDomains
	AllowedDownloads  []Download
	ForbiddenDownload []Download
	DefaultDownload   Download

	MaxImage, MaxAudio, MaxVideo, MaxAttachment uint64

	ForbiddenTypes []MediaType
	PermittedTypes []MediaType // nil: every type that is not forbidden; empty: none
}

// UploadDomains lists the hosts at which the users of one provider store assets.
type UploadDomains struct {
	Provider string
	Hosts    []string
}

// AssetKind decides which capability and which limit an asset falls under.
type AssetKind uint8

// The kinds of mimi-room-policy-04 §8.4.
const (
	Attachment AssetKind = iota
	Image
	Audio
	Video
)

// KindOf returns the kind of an asset: what is shown in place ("render") goes by its media type, anything else is an attachment.
func KindOf(mediaType string, render bool) AssetKind {
	top, _, _ := strings.Cut(strings.ToLower(mediaType), "/")
	switch {
	case !render:
		return Attachment
	case top == "image":
		return Image
	case top == "audio":
		return Audio
	case top == "video":
		return Video
	}
	return Attachment
}

// Upload returns the capability that sending an asset of this kind takes.
func (k AssetKind) Upload() Capability {
	return [...]Capability{CanUploadAttachment, CanUploadImage, CanUploadAudio, CanUploadVideo}[k&3]
}

// Download returns the capability that opening an asset of this kind takes.
func (k AssetKind) Download() Capability {
	return [...]Capability{CanDownloadAttachment, CanDownloadImage, CanDownloadAudio, CanDownloadVideo}[k&3]
}

// Asset is what the policy asks about a part that lies outside its message.
type Asset struct {
	Kind   AssetKind
	Type   MediaType
	Size   uint64 // bytes
	Host   string // of its URL
	Sender string // provider domain of the message's sender
}

// Admits reports whether an asset may stand in a message of a room whose hub is the given domain. Receivers check it
// too, before they fetch anything. A nil policy admits everything. The error wraps ErrDenied.
func (p *Assets) Admits(a Asset, hub string) error {
	if p == nil {
		return nil
	}
	covers := func(m MediaType) bool { return m.covers(a.Type) }
	limit := [...]uint64{p.MaxAttachment, p.MaxImage, p.MaxAudio, p.MaxVideo}[a.Kind&3]
	switch {
	case a.Size > limit:
		return Denied(secAssets, "%d bytes, at most %d are allowed", a.Size, limit)
	case slices.ContainsFunc(p.ForbiddenTypes, covers):
		return Denied(secAssets, "the media type is forbidden")
	case p.PermittedTypes != nil && !slices.ContainsFunc(p.PermittedTypes, covers):
		return Denied(secAssets, "the media type is not among those permitted")
	case !p.hostAllowed(a, hub):
		return Denied(secAssets, "the asset does not lie where the room's policy wants it")
	}
	return nil
}

func (p *Assets) hostAllowed(a Asset, hub string) bool {
	provider := a.Sender
	switch p.Location {
	case UploadAnywhere:
		return true
	case UploadHub:
		provider = hub
	}
	return slices.ContainsFunc(p.Domains, func(d UploadDomains) bool {
		return strings.EqualFold(d.Provider, provider) &&
			slices.ContainsFunc(d.Hosts, func(h string) bool { return strings.EqualFold(h, a.Host) })
	})
}

func (p *Assets) validate() error {
	switch {
	case p == nil:
		return nil
	case p.Location == UploadHub && len(p.Domains) != 1:
		return Invalid(secAssets, "assets go to the hub, but %d providers have upload domains", len(p.Domains))
	case slices.Contains(p.ForbiddenDownload, p.DefaultDownload):
		return Invalid(secAssets, "the default download type is forbidden")
	case slices.ContainsFunc(p.AllowedDownloads, func(d Download) bool { return slices.Contains(p.ForbiddenDownload, d) }):
		return Invalid(secAssets, "a download type is both allowed and forbidden")
	}
	return nil
}
