package mls

// epochSecrets is what the key schedule yields for one epoch (RFC 9420 §8, table 4). Fields are dropped
// (nil) as soon as nothing needs them any more.
type epochSecrets struct {
	joiner     []byte // until the Welcome is made
	welcome    []byte // until the Welcome is made
	senderData []byte
	encryption []byte // moves into the secret tree
	exporter   []byte
	external   []byte
	confirm    []byte
	membership []byte
	resumption []byte
	authentic  []byte // epoch_authenticator
	init       []byte
	appExport  []byte // application_export (draft-ietf-mls-extensions-10 §4.4)
}

// keySchedule runs one turn of the key schedule (RFC 9420 §8): context is the serialised GroupContext of the new epoch.
func (s *suite) keySchedule(initSecret, commitSecret, pskSecret, context []byte) *epochSecrets {
	extracted := s.extract(initSecret, commitSecret)
	joiner := s.expand(extracted, "joiner", context, s.nh)
	return s.keyScheduleFromJoiner(joiner, pskSecret, context)
}

func (s *suite) keyScheduleFromJoiner(joiner, pskSecret, context []byte) *epochSecrets {
	member := s.extract(joiner, pskSecret)
	epoch := s.expand(member, "epoch", context, s.nh)
	return s.epochSecrets(epoch, joiner, s.derive(member, "welcome"))
}

// epochSecrets derives an epoch's secrets from epoch_secret.
func (s *suite) epochSecrets(epoch, joiner, welcome []byte) *epochSecrets {
	defer clear(epoch)
	return &epochSecrets{
		joiner: joiner, welcome: welcome,
		senderData: s.derive(epoch, "sender data"),
		encryption: s.derive(epoch, "encryption"),
		exporter:   s.derive(epoch, "exporter"),
		external:   s.derive(epoch, "external"),
		confirm:    s.derive(epoch, "confirm"),
		membership: s.derive(epoch, "membership"),
		resumption: s.derive(epoch, "resumption"),
		authentic:  s.derive(epoch, "authentication"),
		init:       s.derive(epoch, "init"),
		appExport:  s.derive(epoch, "application_export"),
	}
}

// welcomeKey returns key and nonce of the encrypted GroupInfo (RFC 9420 §12.4.3.1).
func (s *suite) welcomeKey(welcome []byte) (key, nonce []byte) {
	return s.expand(welcome, "key", nil, s.nk), s.expand(welcome, "nonce", nil, nn)
}

// confirmedTranscriptHash is RFC 9420 §8.2 for a commit.
func (s *suite) confirmedTranscriptHash(interim []byte, commit *AuthenticatedContent) []byte {
	e := NewEncoder(1024)
	e.Raw(interim)
	e.Uint16(uint16(commit.WireFormat))
	commit.Content.MarshalMLS(e)
	e.Opaque(commit.Auth.Signature)
	return s.sum(e.Bytes())
}

// interimTranscriptHash is RFC 9420 §8.2.
func (s *suite) interimTranscriptHash(confirmed, confirmationTag []byte) []byte {
	e := NewEncoder(len(confirmed) + len(confirmationTag) + 4)
	e.Raw(confirmed)
	e.Opaque(confirmationTag)
	return s.sum(e.Bytes())
}

// export is MLS-Exporter (RFC 9420 §8.5).
func (s *suite) export(exporter []byte, label string, context []byte, length int) []byte {
	return s.expand(s.derive(exporter, label), "exported", s.sum(context), length)
}
