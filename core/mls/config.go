package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"
)

// Components is the application's side of the app_data_dictionary (draft-ietf-mls-extensions-10 §4): what
// an update means is the component's affair. The methods must be pure: hub and members all call them.
type Components interface {
	// Update returns the new data of component id after the updates, all of one commit, in commit order. old is
	// nil when the component has no data yet. An error makes the commit invalid; so must an unknown component.
	Update(id ComponentID, old []byte, updates [][]byte) ([]byte, error)
	// Remove says whether the data of component id may be removed.
	Remove(id ComponentID) error
	// Ephemeral says whether data of an AppEphemeral proposal is valid.
	Ephemeral(id ComponentID, data []byte) error
}

// Config is what the engine needs from its surroundings. The zero value works: the system's clock and
// randomness, the default suites, every credential accepted, no component known, no external PSK.
// A Config is shared by groups and must not be changed while one uses it.
type Config struct {
	Suites Suites
	Random io.Reader
	Now    func() time.Time
	// VerifyCredential is the authentication service (RFC 9420 §5.3.1): may this credential go with this key?
	VerifyCredential func(c *Credential, signatureKey []byte) error
	// VerifyExternalSender is the same for those who may make proposals from outside the group, such as a hub
	// (RFC 9420 §12.1.8.1).
	VerifyExternalSender func(c *Credential, signatureKey []byte) error
	// VerifySuccessor says whether a member may replace its credential old by next (RFC 9420 §5.3.1). Nil: only by an
	// equal one. It also tells whether leaves of a group and of its successor or branch are the same member's.
	VerifySuccessor func(old, next *Credential) error
	Components      Components
	// PSK finds external and application PSKs (RFC 9420 §8.4), and resumption PSKs of other groups and of epochs that
	// the group at hand does not keep.
	PSK func(id *PreSharedKeyID) ([]byte, error)

	// MaxLifetime is the longest total lifetime of a key package that may be added (RFC 9420 §7.2); 0 means any.
	MaxLifetime time.Duration
	// OldEpochs is how many past epochs a Group can still open messages of; 0 means 8.
	OldEpochs int
	// MaxSkip is how many generations a message may run ahead of its sender's ratchet; 0 means 1,000.
	MaxSkip int
	// MaxSkipped is how many message keys of skipped generations are kept for a sender and epoch; 0 means 256.
	MaxSkipped int
	// StrictSafeAAD refuses bytes after a SafeAAD instead of ignoring them (draft-ietf-mls-extensions-10 §4.9).
	StrictSafeAAD bool
	// AllowExternalAdds permits Add proposals by value in an external commit, which RFC 9420 §12.2 forbids: to recover in one commit.
	AllowExternalAdds bool
}

func (c *Config) suites() Suites {
	if c != nil && c.Suites != nil {
		return c.Suites
	}
	return DefaultSuites()
}

func (c *Config) random() io.Reader {
	if c.Random != nil {
		return c.Random
	}
	return rand.Reader
}

func (c *Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Config) oldEpochs() int { return orDefault(c.OldEpochs, 8) }

func (c *Config) maxSkip() uint32 { return uint32(orDefault(c.MaxSkip, 1000)) }

func (c *Config) maxSkipped() int { return orDefault(c.MaxSkipped, 256) }

func orDefault(v, d int) int {
	if v <= 0 {
		return d
	}
	return v
}

func (c *Config) verifyCredential(cred *Credential, key []byte) error {
	return verifyCredential(cred, key, c.VerifyCredential)
}

func (c *Config) verifyExternalSender(cred *Credential, key []byte) error {
	return verifyCredential(cred, key, c.VerifyExternalSender)
}

func verifyCredential(cred *Credential, key []byte, verify func(*Credential, []byte) error) error {
	if err := cred.checkKey(key); err != nil {
		return err
	}
	if verify == nil {
		return nil
	}
	if err := verify(cred, key); err != nil {
		return fmt.Errorf("%w: %w (RFC 9420 §5.3.1)", ErrCredential, err)
	}
	return nil
}

// sameMember says whether two credentials of a group and its successor or branch are the same member's.
func (c *Config) sameMember(old, next *Credential) bool {
	return old.Equal(next) || c.VerifySuccessor != nil && c.VerifySuccessor(old, next) == nil
}

func (c *Config) verifySuccessor(old, next *LeafNode) error {
	if old.Credential.Equal(&next.Credential) && bytes.Equal(old.SignatureKey, next.SignatureKey) {
		return nil
	}
	if c.VerifySuccessor == nil {
		if old.Credential.Equal(&next.Credential) {
			return nil
		}
		return fmt.Errorf("%w: credential replaced by another (RFC 9420 §5.3.1)", ErrCredential)
	}
	if err := c.VerifySuccessor(&old.Credential, &next.Credential); err != nil {
		return fmt.Errorf("%w: %w (RFC 9420 §5.3.1)", ErrCredential, err)
	}
	return nil
}

var errNoComponents = errors.New("unknown component")

func (c *Config) updateComponent(id ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	if c.Components == nil {
		return nil, errNoComponents
	}
	return c.Components.Update(id, old, updates)
}

func (c *Config) removeComponent(id ComponentID) error {
	if c.Components == nil {
		return errNoComponents
	}
	return c.Components.Remove(id)
}

func (c *Config) checkEphemeral(id ComponentID, data []byte) error {
	if c.Components == nil {
		return errNoComponents
	}
	return c.Components.Ephemeral(id, data)
}

// checkAAD verifies that authenticated data is SafeAAD where it has to be (mls-extensions-10).
func (c *Config) checkAAD(safe bool, aad []byte) error {
	if !safe {
		return nil
	}
	_, err := ParseSafeAAD(aad, c.StrictSafeAAD)
	return err
}
