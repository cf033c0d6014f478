//go:build !nowhatsapp

// Package noise is the server's side of WhatsApp's transport: frames on a websocket, the Noise_XX_25519_AESGCM_SHA256
// handshake with WhatsApp's certificate chain in the server's payload, and the two ciphers that follow it.
//
// whatsmeow/socket has the client's side only: its handshake takes the keys in the client's order and keeps them private.
package noise

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/binary/token"
	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

// pattern is exactly one hash long, so Noise takes it as the first hash, as salt and as key, unhashed.
const pattern = "Noise_XX_25519_AESGCM_SHA256\x00\x00\x00\x00"

// maxFrame is the largest frame in octets: its length is written in three octets.
const maxFrame = 1<<24 - 1

// ErrHandshake says that what a client sent is no handshake of this protocol.
var ErrHandshake = errors.New("noise: bad handshake")

// prologue is what a client sends before its first frame: the protocol's name and version and that of the dictionary.
func prologue() []byte { return []byte{'W', 'A', 6, token.DictVersion} }

// Messages is the transport under the frames: the binary messages of a websocket.
type Messages interface {
	// Read waits for the next message.
	Read(ctx context.Context) ([]byte, error)
	// Write sends one message.
	Write(ctx context.Context, message []byte) error
}

// Identity is what a server proves in the handshake: its static key, and the chain from the root certificate's key to it.
type Identity struct {
	static *ecdh.PrivateKey
	chain  []byte // a waCert.CertChain
}

// NewIdentity makes an identity under a root key. It is valid from an hour before now until a year after it.
func NewIdentity(root *keys.KeyPair, now time.Time) (*Identity, error) {
	static, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("noise: static key: %w", err)
	}
	between := keys.NewKeyPair()
	middle, err := certificate(root, 1, 0, between.Pub[:], now)
	if err != nil {
		return nil, err
	}
	leaf, err := certificate(between, 2, 1, static.PublicKey().Bytes(), now)
	if err != nil {
		return nil, err
	}
	chain, err := proto.Marshal(&waCert.CertChain{Intermediate: middle, Leaf: leaf})
	if err != nil {
		return nil, fmt.Errorf("noise: certificate chain: %w", err)
	}
	return &Identity{static: static, chain: chain}, nil
}

// certificate signs a key with its issuer's. The root certificate itself is never sent: its serial number is 0.
func certificate(issuer *keys.KeyPair, serial, issuerSerial uint32, key []byte, now time.Time) (*waCert.CertChain_NoiseCertificate, error) {
	details, err := proto.Marshal(&waCert.CertChain_NoiseCertificate_Details{
		Serial: &serial, IssuerSerial: &issuerSerial, Key: key,
		NotBefore: proto.Uint64(uint64(now.Add(-time.Hour).Unix())),
		NotAfter:  proto.Uint64(uint64(now.AddDate(1, 0, 0).Unix())),
	})
	if err != nil {
		return nil, fmt.Errorf("noise: certificate: %w", err)
	}
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*issuer.Priv), details)
	return &waCert.CertChain_NoiseCertificate{Details: details, Signature: signature[:]}, nil
}

// Conn is a connection after its handshake. One goroutine may read while another writes.
type Conn struct {
	frames      *frames
	read, write cipher.AEAD
	readN       uint32
	writeN      uint32
	// Client is the static public key that the client proved to hold, 32 octets.
	Client []byte
	// Payload is what the client said of itself in the handshake.
	Payload *waWa6.ClientPayload
}

// Accept does the server's part of the handshake. An error that wraps ErrHandshake is the client's fault.
func Accept(ctx context.Context, m Messages, id *Identity) (*Conn, error) {
	f := &frames{messages: m}
	hello, err := f.handshake(ctx)
	if err != nil {
		return nil, err
	}
	theirs := hello.GetClientHello().GetEphemeral()
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("noise: ephemeral key: %w", err)
	}
	s := &state{hash: []byte(pattern), salt: []byte(pattern), key: gcm([]byte(pattern))}
	s.mix(prologue())
	s.mix(theirs)
	s.mix(ephemeral.PublicKey().Bytes())
	if err := s.mixKey(ephemeral, theirs); err != nil {
		return nil, err
	}
	static := s.seal(id.static.PublicKey().Bytes())
	if err := s.mixKey(id.static, theirs); err != nil {
		return nil, err
	}
	answer, err := proto.Marshal(&waWa6.HandshakeMessage{ServerHello: &waWa6.HandshakeMessage_ServerHello{
		Ephemeral: ephemeral.PublicKey().Bytes(), Static: static, Payload: s.seal(id.chain),
	}})
	if err != nil {
		return nil, fmt.Errorf("noise: server hello: %w", err)
	}
	if err := f.writeFrame(ctx, answer); err != nil {
		return nil, err
	}
	finish, err := f.handshake(ctx)
	if err != nil {
		return nil, err
	}
	c := &Conn{frames: f, Payload: &waWa6.ClientPayload{}}
	if c.Client, err = s.open(finish.GetClientFinish().GetStatic()); err != nil {
		return nil, err
	}
	if err := s.mixKey(ephemeral, c.Client); err != nil {
		return nil, err
	}
	payload, err := s.open(finish.GetClientFinish().GetPayload())
	if err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(payload, c.Payload); err != nil {
		return nil, fmt.Errorf("%w: payload: %v", ErrHandshake, err)
	}
	// The first key is the client's to write with.
	read, write := s.split(nil)
	c.read, c.write = gcm(read), gcm(write)
	return c, nil
}

// Read waits for the next frame and opens it.
func (c *Conn) Read(ctx context.Context) ([]byte, error) {
	frame, err := c.frames.readFrame(ctx)
	if err != nil {
		return nil, err
	}
	plain, err := c.read.Open(nil, nonce(c.readN), frame, nil)
	if err != nil {
		return nil, fmt.Errorf("noise: frame %d: %w", c.readN, err)
	}
	c.readN++
	return plain, nil
}

// Write seals a frame and sends it.
func (c *Conn) Write(ctx context.Context, plain []byte) error {
	frame := c.write.Seal(nil, nonce(c.writeN), plain, nil)
	c.writeN++
	return c.frames.writeFrame(ctx, frame)
}

// state is a Noise handshake as it goes on.
type state struct {
	hash, salt []byte
	key        cipher.AEAD
	n          uint32
}

func (s *state) mix(data []byte) {
	h := sha256.New()
	h.Write(s.hash)
	h.Write(data)
	s.hash = h.Sum(nil)
}

func (s *state) split(secret []byte) (first, second []byte) {
	out, err := hkdf.Key(sha256.New, secret, s.salt, "", 64)
	if err != nil {
		panic(err) // 64 octets are within what HKDF-SHA256 gives
	}
	return out[:32], out[32:]
}

func (s *state) mixKey(private *ecdh.PrivateKey, public []byte) error {
	key, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return fmt.Errorf("%w: public key: %v", ErrHandshake, err)
	}
	secret, err := private.ECDH(key)
	if err != nil {
		return fmt.Errorf("%w: shared secret: %v", ErrHandshake, err)
	}
	salt, k := s.split(secret)
	s.salt, s.key, s.n = salt, gcm(k), 0
	return nil
}

func (s *state) seal(plain []byte) []byte {
	sealed := s.key.Seal(nil, nonce(s.n), plain, s.hash)
	s.n++
	s.mix(sealed)
	return sealed
}

func (s *state) open(sealed []byte) ([]byte, error) {
	plain, err := s.key.Open(nil, nonce(s.n), sealed, s.hash)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrHandshake, err)
	}
	s.n++
	s.mix(sealed)
	return plain, nil
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // every key here has 32 octets
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func nonce(n uint32) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint32(b[8:], n)
	return b
}

// frames cuts the messages of a websocket into frames: three octets of length, then that many; the client's first frame
// has the prologue before it.
type frames struct {
	messages Messages
	buffer   []byte
	begun    bool
}

func (f *frames) readFrame(ctx context.Context) ([]byte, error) {
	for {
		if !f.begun && len(f.buffer) >= 4 {
			if want := prologue(); string(f.buffer[:4]) != string(want) {
				return nil, fmt.Errorf("%w: it begins with %x, not %x", ErrHandshake, f.buffer[:4], want)
			}
			f.buffer, f.begun = f.buffer[4:], true
		}
		if f.begun && len(f.buffer) >= 3 {
			n := int(f.buffer[0])<<16 | int(f.buffer[1])<<8 | int(f.buffer[2])
			if len(f.buffer) >= 3+n {
				frame := f.buffer[3 : 3+n]
				f.buffer = f.buffer[3+n:]
				return frame, nil
			}
		}
		message, err := f.messages.Read(ctx)
		if err != nil {
			return nil, err
		}
		f.buffer = append(f.buffer, message...)
	}
}

func (f *frames) writeFrame(ctx context.Context, frame []byte) error {
	n := len(frame)
	if n > maxFrame {
		return fmt.Errorf("noise: a frame of %d octets, at most %d", n, maxFrame)
	}
	return f.messages.Write(ctx, append([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, frame...))
}

// handshake reads one frame of the handshake.
func (f *frames) handshake(ctx context.Context) (*waWa6.HandshakeMessage, error) {
	frame, err := f.readFrame(ctx)
	if err != nil {
		return nil, err
	}
	m := new(waWa6.HandshakeMessage)
	if err := proto.Unmarshal(frame, m); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrHandshake, err)
	}
	return m, nil
}
