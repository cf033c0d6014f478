//go:build !nowhatsapp

package noise_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver/noise"
)

// pipe is one end of a transport of messages.
type pipe struct{ in, out chan []byte }

func pipes() (a, b *pipe) {
	x, y := make(chan []byte, 16), make(chan []byte, 16)
	return &pipe{x, y}, &pipe{y, x}
}

func (p *pipe) Read(ctx context.Context) ([]byte, error) {
	select {
	case m, ok := <-p.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) Write(_ context.Context, m []byte) error {
	p.out <- bytes.Clone(m)
	return nil
}

func frame(b []byte) []byte { return append([]byte{0, byte(len(b) >> 8), byte(len(b))}, b...) }

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// client is whatsmeow's own handshake, against the server's: it returns the key the server proved to hold.
func client(t *testing.T, p *pipe, static *keys.KeyPair, payload *waWa6.ClientPayload) []byte {
	ephemeral := keys.NewKeyPair()
	h := socket.NewNoiseHandshake()
	h.Start(socket.NoiseStartPattern, socket.WAConnHeader)
	h.Authenticate(ephemeral.Pub[:])
	hello := must(proto.Marshal(&waWa6.HandshakeMessage{ClientHello: &waWa6.HandshakeMessage_ClientHello{Ephemeral: ephemeral.Pub[:]}}))(t)
	all := append(bytes.Clone(socket.WAConnHeader), frame(hello)...)
	// In three messages, so that the server has to put frames together.
	p.out <- all[:2]
	p.out <- all[2:9]
	p.out <- all[9:]
	var answer waWa6.HandshakeMessage
	if err := proto.Unmarshal((<-p.in)[3:], &answer); err != nil {
		t.Fatal(err)
	}
	server := [32]byte(answer.GetServerHello().GetEphemeral())
	h.Authenticate(server[:])
	if err := h.MixSharedSecretIntoKey(*ephemeral.Priv, server); err != nil {
		t.Fatal(err)
	}
	proved := must(h.Decrypt(answer.GetServerHello().GetStatic()))(t)
	if err := h.MixSharedSecretIntoKey(*ephemeral.Priv, [32]byte(proved)); err != nil {
		t.Fatal(err)
	}
	must(h.Decrypt(answer.GetServerHello().GetPayload()))(t)
	sealed := h.Encrypt(static.Pub[:])
	if err := h.MixSharedSecretIntoKey(*static.Priv, server); err != nil {
		t.Fatal(err)
	}
	finish := must(proto.Marshal(&waWa6.HandshakeMessage{ClientFinish: &waWa6.HandshakeMessage_ClientFinish{
		Static: sealed, Payload: h.Encrypt(must(proto.Marshal(payload))(t)),
	}}))(t)
	p.out <- frame(finish)
	return proved
}

func TestAccept(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ours, theirs := pipes()
	id := must(noise.NewIdentity(keys.NewKeyPair(), time.Now()))(t)
	static := keys.NewKeyPair()
	done := make(chan []byte, 1)
	go func() { done <- client(t, theirs, static, &waWa6.ClientPayload{Username: proto.Uint64(4915)}) }()
	c, err := noise.Accept(ctx, ours, id)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if !bytes.Equal(c.Client, static.Pub[:]) {
		t.Errorf("the client's key is %x, want %x", c.Client, static.Pub[:])
	}
	if c.Payload.GetUsername() != 4915 {
		t.Errorf("payload %v", c.Payload)
	}
	// What follows is sealed: a frame that nobody sealed ends the connection.
	theirs.out <- frame(make([]byte, 20))
	if _, err := c.Read(ctx); err == nil {
		t.Error("a forged frame was opened")
	}
}

// FuzzAccept feeds a handshake with whatever comes: it must end with an error and never with a connection.
func FuzzAccept(f *testing.F) {
	hello, err := proto.Marshal(&waWa6.HandshakeMessage{ClientHello: &waWa6.HandshakeMessage_ClientHello{Ephemeral: keys.NewKeyPair().Pub[:]}})
	if err != nil {
		f.Fatal(err)
	}
	finish, err := proto.Marshal(&waWa6.HandshakeMessage{ClientFinish: &waWa6.HandshakeMessage_ClientFinish{Static: make([]byte, 48), Payload: make([]byte, 16)}})
	if err != nil {
		f.Fatal(err)
	}
	begin := append(bytes.Clone(socket.WAConnHeader), frame(hello)...)
	f.Add(begin)
	f.Add(append(bytes.Clone(begin), frame(finish)...))
	f.Add([]byte("GET / HTTP/1.1"))
	id, err := noise.NewIdentity(keys.NewKeyPair(), time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := pipes()
		theirs.out <- data
		close(theirs.out)
		c, err := noise.Accept(t.Context(), ours, id)
		if err == nil || c != nil {
			t.Fatal("a connection without a handshake")
		}
		if !errors.Is(err, noise.ErrHandshake) && !errors.Is(err, io.EOF) {
			t.Errorf("error %v", err)
		}
	})
}
