package identity

import "errors"

// ErrConsent: a consent state that cannot follow the one before.
var ErrConsent = errors.New("identity: this cannot follow")

// Consent is what a person knows and said about their words leaving their network (design §8). What follows from it is policy:
// see [Rule].
type Consent uint8

// The states, in their order: somebody seen for the first time is Unknown.
const (
	Unknown   Consent = iota
	Noticed           // was told
	Consented         // said yes
	OptedOut          // said no
)

var consentNames = [...]string{"unknown", "noticed", "consented", "opted out"}

// String returns the state in words.
func (c Consent) String() string {
	if int(c) < len(consentNames) {
		return consentNames[c]
	}
	return consentNames[Unknown]
}

// May reports whether state to can follow c: nobody becomes unknown again, and whoever has said yes or no is not merely told;
// they may change their mind.
func (c Consent) May(to Consent) bool {
	switch to {
	case Noticed:
		return c == Unknown
	case Consented, OptedOut:
		return true
	}
	return false
}

// Rule is what a room's policy makes of consent.
type Rule struct {
	// Notice: each new person is told once that their words go to other networks.
	Notice bool
	// Require: nothing of a person leaves before they have said yes.
	Require bool
}

// Allows reports whether a person's words, name and picture may leave their network.
func (r Rule) Allows(c Consent) bool {
	switch c {
	case OptedOut:
		return false
	case Consented:
		return true
	}
	return !r.Require
}

// Tell reports whether the person is to be told now.
func (r Rule) Tell(c Consent) bool { return r.Notice && c == Unknown }
