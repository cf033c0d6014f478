package room

import (
	"mimigate/core/mls"
	"mimigate/core/policy"
)

// The structures of mimi-room-policy-04, in the order of its sections. Where prose and syntax of the draft differ, the
// reading is given beside the code.

// Role, §3.
func encodeRole(e *mls.Encoder, r *policy.Role) {
	e.Uint32(uint32(r.Index))
	encodeText(e, &r.Name)
	encodeText(e, &r.Description)
	encodeUint16s(e, r.Capabilities)
	e.Uint32(r.Min)
	encodeOption(e, r.Max)
	e.Uint32(r.MinActive)
	encodeOption(e, r.MaxActive)
	encodeVector(e, r.Changes, func(e *mls.Encoder, c *policy.RoleChange) {
		e.Uint32(uint32(c.From))
		encodeVector(e, c.Targets, encodeRoleIndex)
	})
}

func decodeRole(d *mls.Decoder) policy.Role {
	return policy.Role{
		Index:        decodeRoleIndex(d),
		Name:         decodeText(d),
		Description:  decodeText(d),
		Capabilities: decodeUint16s[policy.Capability](d),
		Min:          d.Uint32(),
		Max:          decodeOption(d),
		MinActive:    d.Uint32(),
		MaxActive:    decodeOption(d),
		Changes: decodeVector(d, func(d *mls.Decoder) policy.RoleChange {
			return policy.RoleChange{From: decodeRoleIndex(d), Targets: decodeVector(d, decodeRoleIndex)}
		}),
	}
}

// PreAuthRoleEntry, §4.
func encodePreAuth(e *mls.Encoder, p *policy.PreAuthEntry) {
	encodeVector(e, p.Claims, func(e *mls.Encoder, c *policy.Claim) {
		e.Uint16(c.CredentialType)
		encodeText(e, &c.ID)
		encodeText(e, &c.Value)
	})
	encodeRole(e, &p.Target)
}

func decodePreAuth(d *mls.Decoder) policy.PreAuthEntry {
	return policy.PreAuthEntry{
		Claims: decodeVector(d, func(d *mls.Decoder) policy.Claim {
			return policy.Claim{CredentialType: d.Uint16(), ID: decodeText(d), Value: decodeText(d)}
		}),
		Target: decodeRole(d),
	}
}

// BaseRoomPolicy, §5. policy_component_ids has an undefined type there; it is a vector of ComponentID.
func encodeBase(e *mls.Encoder, b *policy.Base) {
	e.Bool(b.FixedMembership)
	e.Bool(b.ParentDependent)
	encodeLoneURI(e, b.ParentRoom)
	e.Bool(b.MultiDevice)
	encodeOption(e, b.MaxClients)
	encodeOption(e, b.MaxUsers)
	e.Bool(b.Pseudonyms)
	e.Bool(b.Persistent)
	e.Bool(b.Discoverable)
	encodeUint16s(e, b.Components)
}

func decodeBase(d *mls.Decoder) policy.Base {
	return policy.Base{
		FixedMembership: d.Bool(),
		ParentDependent: d.Bool(),
		ParentRoom:      decodeLoneURI(d),
		MultiDevice:     d.Bool(),
		MaxClients:      decodeOption(d),
		MaxUsers:        decodeOption(d),
		Pseudonyms:      d.Bool(),
		Persistent:      d.Bool(),
		Discoverable:    d.Bool(),
		Components:      decodeUint16s[policy.Component](d),
	}
}

// StatusNotificationPolicy, §6.1.
func encodeStatus(e *mls.Encoder, s *policy.StatusNotifications) {
	e.Uint8(uint8(s.Delivery))
	e.Uint8(uint8(s.Read))
}

func decodeStatus(d *mls.Decoder) policy.StatusNotifications {
	return policy.StatusNotifications{Delivery: decodeOptionality(d), Read: decodeOptionality(d)}
}

// JoinLinkPolicy, §6.2.
func encodeJoinLink(e *mls.Encoder, j *policy.JoinLinkRules) {
	e.Bool(j.OnRequest)
	encodeText(e, &j.Link)
	e.Bool(j.MultiUser)
	e.Uint32(j.Expiration)
}

func decodeJoinLink(d *mls.Decoder) policy.JoinLinkRules {
	return policy.JoinLinkRules{OnRequest: d.Bool(), Link: decodeText(d), MultiUser: d.Bool(), Expiration: d.Uint32()}
}

// LinkPreviewPolicy, §6.3. Here and below "mandatory" in a select is the value required.
func encodeLinkPreview(e *mls.Encoder, p *policy.LinkPreviews) {
	e.Uint8(uint8(p.Autodetect))
	e.Uint8(uint8(p.Send))
	e.Uint8(uint8(p.Automatic))
	e.Uint8(uint8(p.ProxyUse))
	if p.ProxyUse != policy.Forbidden {
		encodeLoneURI(e, p.Proxy)
	}
}

func decodeLinkPreview(d *mls.Decoder) policy.LinkPreviews {
	p := policy.LinkPreviews{Autodetect: decodeOptionality(d), Send: decodeOptionality(d), Automatic: decodeOptionality(d),
		ProxyUse: decodeOptionality(d)}
	if p.ProxyUse != policy.Forbidden {
		p.Proxy = decodeLoneURI(d)
	}
	return p
}

// AssetPolicy, §6.4. permitted_media_types is read as an optional vector.
func encodeAssets(e *mls.Encoder, p *policy.Assets) {
	e.Uint8(uint8(p.Location))
	encodeVector(e, p.Domains, func(e *mls.Encoder, u *policy.UploadDomains) {
		encodeText(e, &u.Provider)
		encodeTexts(e, u.Hosts)
	})
	encodeDownloads(e, p.AllowedDownloads)
	encodeDownloads(e, p.ForbiddenDownload)
	e.Uint8(uint8(p.DefaultDownload))
	for _, n := range []uint64{p.MaxImage, p.MaxAudio, p.MaxVideo, p.MaxAttachment} {
		e.Uint64(n)
	}
	encodeVector(e, p.ForbiddenTypes, encodeMediaType)
	e.Bool(p.PermittedTypes != nil)
	if p.PermittedTypes != nil {
		encodeVector(e, p.PermittedTypes, encodeMediaType)
	}
}

func decodeAssets(d *mls.Decoder) policy.Assets {
	p := policy.Assets{
		Location: decodeEnum(d, policy.UploadHub),
		Domains: decodeVector(d, func(d *mls.Decoder) policy.UploadDomains {
			return policy.UploadDomains{Provider: decodeText(d), Hosts: decodeTexts(d)}
		}),
		AllowedDownloads:  decodeVector(d, decodeDownload),
		ForbiddenDownload: decodeVector(d, decodeDownload),
		DefaultDownload:   decodeDownload(d),
		MaxImage:          d.Uint64(),
		MaxAudio:          d.Uint64(),
		MaxVideo:          d.Uint64(),
		MaxAttachment:     d.Uint64(),
		ForbiddenTypes:    decodeVector(d, decodeMediaType),
	}
	if d.Bool() {
		p.PermittedTypes = present(decodeVector(d, decodeMediaType))
	}
	return p
}

func encodeDownloads(e *mls.Encoder, list []policy.Download) {
	encodeVector(e, list, func(e *mls.Encoder, v *policy.Download) { e.Uint8(uint8(*v)) })
}

func decodeDownload(d *mls.Decoder) policy.Download { return decodeEnum(d, policy.DownloadOHTTP) }

// MediaType, mls-extensions-10 §6.2.2.
func encodeMediaType(e *mls.Encoder, m *policy.MediaType) {
	encodeText(e, &m.Type)
	encodeVector(e, m.Parameters, func(e *mls.Encoder, p *policy.Parameter) {
		encodeText(e, &p.Name)
		encodeText(e, &p.Value)
	})
}

func decodeMediaType(d *mls.Decoder) policy.MediaType {
	return policy.MediaType{Type: decodeText(d), Parameters: decodeVector(d, func(d *mls.Decoder) policy.Parameter {
		return policy.Parameter{Name: decodeText(d), Value: decodeText(d)}
	})}
}

// LoggingPolicy, §6.5.
func encodeLogging(e *mls.Encoder, p *policy.Logging) {
	e.Uint8(uint8(p.Logging))
	if p.Logging != policy.Forbidden {
		encodeTexts(e, p.Clients)
		encodeText(e, &p.MachineReadable)
		encodeText(e, &p.HumanReadable)
	}
}

func decodeLogging(d *mls.Decoder) policy.Logging {
	p := policy.Logging{Logging: decodeOptionality(d)}
	if p.Logging != policy.Forbidden {
		p.Clients, p.MachineReadable, p.HumanReadable = decodeTexts(d), decodeText(d), decodeText(d)
	}
	return p
}

// HistoryPolicy, §6.6.
func encodeHistory(e *mls.Encoder, p *policy.History) {
	e.Uint8(uint8(p.Sharing))
	if p.Sharing != policy.Forbidden {
		encodeVector(e, p.Roles, encodeRoleIndex)
		e.Bool(p.Automatic)
		e.Uint32(p.MaxTime)
	}
}

func decodeHistory(d *mls.Decoder) policy.History {
	p := policy.History{Sharing: decodeOptionality(d)}
	if p.Sharing != policy.Forbidden {
		p.Roles, p.Automatic, p.MaxTime = decodeVector(d, decodeRoleIndex), d.Bool(), d.Uint32()
	}
	return p
}

// Bot, §6.7.
func encodeBot(e *mls.Encoder, b *policy.Bot) {
	encodeText(e, &b.Name)
	encodeText(e, &b.Description)
	encodeText(e, &b.Homepage)
	e.Bool(b.Local)
	e.Uint32(uint32(b.Role))
	e.Bool(b.CanTarget)
	e.Bool(b.PerUserContent)
}

func decodeBot(d *mls.Decoder) policy.Bot {
	return policy.Bot{Name: decodeText(d), Description: decodeText(d), Homepage: decodeText(d), Local: d.Bool(),
		Role: decodeRoleIndex(d), CanTarget: d.Bool(), PerUserContent: d.Bool()}
}

// MessageExpiration, §6.8.
func encodeExpiration(e *mls.Encoder, p *policy.Expiration) {
	e.Uint8(uint8(p.Expiring))
	if p.Expiring != policy.Forbidden {
		e.Uint32(p.Min)
		e.Uint32(p.Max)
		encodeOption(e, p.Default)
	}
}

func decodeExpiration(d *mls.Decoder) policy.Expiration {
	p := policy.Expiration{Expiring: decodeOptionality(d)}
	if p.Expiring != policy.Forbidden {
		p.Min, p.Max, p.Default = d.Uint32(), d.Uint32(), decodeOption(d)
	}
	return p
}

// OperationalParameters, §7. WireFormats is read as one vector of uint16, not a vector of vectors.
func encodeOperational(e *mls.Encoder, p *policy.Operational) {
	for _, c := range []*policy.ClientCapabilities{&p.Mandatory, &p.Default, &p.Forbidden} {
		encodeCapabilities(e, c)
	}
	encodeUint16s(e, p.HandshakeFormats)
	e.Bool(p.ExternalProposals)
	e.Bool(p.ExternalCommits)
	e.Uint8(uint8(p.Pending.Strategy))
	if p.Pending.Strategy == policy.RandomDelay {
		e.Uint64(p.Pending.MinDelayMS)
		e.Uint64(p.Pending.MaxDelayMS)
	}
	encodeTimeRange(e, p.LeafUpdate)
	e.Uint8(p.Messages.EpochTolerance)
	e.Uint16(p.Messages.PadToSize)
	e.Uint32(p.Messages.MaxSkipAhead)
	e.Uint64(p.MaxKeyPackageLifetime)
	e.Uint64(p.MaxCredentialLifetime)
	e.Uint64(p.ResumptionPSKLifetime)
	encodeTimeRange(e, p.SenderKeyLifetime)
	e.Uint32(p.MaxSenderKeys)
	encodeTimeRange(e, p.BufferTime)
	e.Uint32(p.MaxBuffered)
}

func decodeOperational(d *mls.Decoder) policy.Operational {
	p := policy.Operational{
		Mandatory:         decodeCapabilities(d),
		Default:           decodeCapabilities(d),
		Forbidden:         decodeCapabilities(d),
		HandshakeFormats:  decodeUint16s[uint16](d),
		ExternalProposals: d.Bool(),
		ExternalCommits:   d.Bool(),
		Pending:           policy.PendingProposals{Strategy: decodeEnum(d, policy.RandomDelay)},
	}
	if p.Pending.Strategy == policy.RandomDelay {
		p.Pending.MinDelayMS, p.Pending.MaxDelayMS = d.Uint64(), d.Uint64()
	}
	p.LeafUpdate = decodeTimeRange(d)
	p.Messages = policy.AppMessages{EpochTolerance: d.Uint8(), PadToSize: d.Uint16(), MaxSkipAhead: d.Uint32()}
	p.MaxKeyPackageLifetime, p.MaxCredentialLifetime, p.ResumptionPSKLifetime = d.Uint64(), d.Uint64(), d.Uint64()
	p.SenderKeyLifetime, p.MaxSenderKeys = decodeTimeRange(d), d.Uint32()
	p.BufferTime, p.MaxBuffered = decodeTimeRange(d), d.Uint32()
	return p
}

func encodeCapabilities(e *mls.Encoder, c *policy.ClientCapabilities) {
	for _, list := range [][]uint16{c.Versions, c.CipherSuites, c.Extensions, c.Proposals, c.Credentials, c.WireFormats} {
		encodeUint16s(e, list)
	}
	encodeUint16s(e, c.Components)
	encodeUint16s(e, c.SafeAAD)
	encodeVector(e, c.MediaTypes, encodeMediaType)
	encodeUint8s(e, c.ContentTypes)
}

func decodeCapabilities(d *mls.Decoder) policy.ClientCapabilities {
	return policy.ClientCapabilities{
		Versions:     decodeUint16s[uint16](d),
		CipherSuites: decodeUint16s[uint16](d),
		Extensions:   decodeUint16s[uint16](d),
		Proposals:    decodeUint16s[uint16](d),
		Credentials:  decodeUint16s[uint16](d),
		WireFormats:  decodeUint16s[uint16](d),
		Components:   decodeUint16s[policy.Component](d),
		SafeAAD:      decodeUint16s[policy.Component](d),
		MediaTypes:   decodeVector(d, decodeMediaType),
		ContentTypes: decodeUint8s(d),
	}
}

func encodeTimeRange(e *mls.Encoder, t policy.TimeRange) {
	e.Uint64(t.Min)
	e.Uint64(t.Default)
	e.Uint64(t.Max)
}

func decodeTimeRange(d *mls.Decoder) policy.TimeRange {
	return policy.TimeRange{Min: d.Uint64(), Default: d.Uint64(), Max: d.Uint64()}
}
