//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"sync"

	wastore "go.mau.fi/whatsmeow/store"
)

// ratchets keeps the library from losing the state of Signal sessions. When it encrypts, it reads the sessions with all devices, and writes
// them back when it is done; what it has decrypted from one of these devices meanwhile would be undone, and messages that were
// encrypted after that could not be read. So nothing is decrypted while a message is encrypted.
type ratchets struct{ busy chan struct{} }

func newRatchets() *ratchets { return &ratchets{make(chan struct{}, 1)} }

// guard makes a device's store heed r.
func (r *ratchets) guard(d *wastore.Device) {
	d.EventBuffer = guardedBuffer{d.EventBuffer, r}
	d.Sessions = guardedSessions{d.Sessions}
}

// take waits for the sessions. free gives them back, once.
func (r *ratchets) take(ctx context.Context) (free func(), err error) {
	select {
	case r.busy <- struct{}{}:
		return sync.OnceFunc(func() { <-r.busy }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// encryptedKey is the key of a function in a context of SendMessage: it is called when the sessions are written.
type encryptedKey struct{}

// guardedBuffer decrypts while nothing is encrypted.
type guardedBuffer struct {
	wastore.EventBuffer
	ratchets *ratchets
}

// DoDecryptionTxn implements store.EventBuffer.
func (b guardedBuffer) DoDecryptionTxn(ctx context.Context, decrypt func(context.Context) error) error {
	free, err := b.ratchets.take(ctx)
	if err != nil {
		return err
	}
	defer free()
	return b.EventBuffer.DoDecryptionTxn(ctx, decrypt)
}

// guardedSessions tells when the sessions are written that a message was encrypted with.
type guardedSessions struct{ wastore.SessionStore }

// PutManySessions implements store.SessionStore.
func (s guardedSessions) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	err := s.SessionStore.PutManySessions(ctx, sessions)
	if free, ok := ctx.Value(encryptedKey{}).(func()); ok {
		free()
	}
	return err
}
