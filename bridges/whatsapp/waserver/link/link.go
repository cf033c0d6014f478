//go:build !nowhatsapp

// Package link is what a phone reckons when it links a device: the signed identity that the device shows to others from
// then on, and the agreement of keys under the eight characters of a pairing code.
package link

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

// Random returns n random octets.
func Random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// Code is what a QR code says.
type Code struct {
	Ref      string // which unlinked client it is
	Identity []byte // its public identity key, 32 octets
	Secret   []byte // what proves to it that its code was seen
}

// Parse reads the text of a QR code: https://wa.me/settings/linked_devices#ref,noise,identity,secret,kind.
func Parse(text string) (Code, error) {
	_, rest, _ := strings.Cut(text, "#")
	parts := strings.Split(rest, ",")
	if len(parts) != 5 {
		return Code{}, fmt.Errorf("link: a QR code of %d parts, not 5", len(parts))
	}
	identity, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(identity) != 32 {
		return Code{}, errors.New("link: the QR code's identity key is none")
	}
	secret, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil || len(secret) == 0 {
		return Code{}, errors.New("link: the QR code's secret is none")
	}
	return Code{Ref: parts[0], Identity: identity, Secret: secret}, nil
}

// Sign makes the identity of a device: signed by the phone's key, not yet by the device.
func Sign(phone *keys.KeyPair, id uint16, identity []byte, now int64) (*waAdv.ADVSignedDeviceIdentity, error) {
	details, err := proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID: proto.Uint32(uint32(id)), Timestamp: proto.Uint64(uint64(now)), KeyIndex: proto.Uint32(uint32(id)),
	})
	if err != nil {
		return nil, fmt.Errorf("link: identity: %w", err)
	}
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*phone.Priv), slices.Concat(whatsmeow.AdvAccountSignaturePrefix, details, identity))
	return &waAdv.ADVSignedDeviceIdentity{Details: details, AccountSignatureKey: phone.Pub[:], AccountSignature: signature[:]}, nil
}

// Seal wraps a signed identity so that the client sees that it comes from who saw its code.
func Seal(identity *waAdv.ADVSignedDeviceIdentity, secret []byte) ([]byte, error) {
	signed, err := proto.Marshal(identity)
	if err != nil {
		return nil, fmt.Errorf("link: identity: %w", err)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(signed)
	sealed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	if err != nil {
		return nil, fmt.Errorf("link: identity: %w", err)
	}
	return sealed, nil
}

// wrappedSize is that of a public key under a pairing code: salt 32, IV 16, key 32 octets.
const wrappedSize = 80

// Exchange is the phone's side of the agreement under a pairing code.
type Exchange struct {
	phone  *keys.KeyPair
	shared []byte
	// Hello is the phone's ephemeral public key under the code.
	Hello []byte
}

// Begin answers the client's ephemeral key, wrapped under a code that the person typed.
func Begin(phone *keys.KeyPair, code string, wrapped []byte) (*Exchange, error) {
	if len(wrapped) != wrappedSize {
		return nil, fmt.Errorf("link: a wrapped key of %d octets, not %d", len(wrapped), wrappedSize)
	}
	code = strings.ReplaceAll(code, "-", "")
	theirs, err := wrap(code, wrapped[:32], wrapped[32:48], wrapped[48:])
	if err != nil {
		return nil, err
	}
	ephemeral, salt, iv := keys.NewKeyPair(), Random(32), Random(16)
	ours, err := wrap(code, salt, iv, ephemeral.Pub[:])
	if err != nil {
		return nil, err
	}
	shared, err := agree(ephemeral.Priv[:], theirs)
	if err != nil {
		return nil, err
	}
	return &Exchange{phone: phone, shared: shared, Hello: slices.Concat(salt, iv, ours)}, nil
}

// Finish opens the client's keys, and returns what a QR code would have said. A wrong code shows here.
func (e *Exchange) Finish(bundle []byte) (Code, error) {
	if len(bundle) < 44 {
		return Code{}, errors.New("link: the key bundle is too short")
	}
	key, err := hkdf.Key(sha256.New, e.shared, bundle[:32], "link_code_pairing_key_bundle_encryption_key", 32)
	if err != nil {
		return Code{}, fmt.Errorf("link: key of the bundle: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return Code{}, fmt.Errorf("link: key of the bundle: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return Code{}, fmt.Errorf("link: key of the bundle: %w", err)
	}
	plain, err := aead.Open(nil, bundle[32:44], bundle[44:], nil)
	if err != nil || len(plain) != 96 || !slices.Equal(plain[32:64], e.phone.Pub[:]) {
		return Code{}, errors.New("link: the key bundle does not open: another code, or another phone")
	}
	between, err := agree(e.phone.Priv[:], plain[:32])
	if err != nil {
		return Code{}, err
	}
	secret, err := hkdf.Key(sha256.New, slices.Concat(e.shared, between, plain[64:]), nil, "adv_secret", 32)
	if err != nil {
		return Code{}, fmt.Errorf("link: secret: %w", err)
	}
	return Code{Identity: plain[:32], Secret: secret}, nil
}

// wrap turns a key into what only who knows the code can turn back, or back (it is its own inverse).
func wrap(code string, salt, iv, key []byte) ([]byte, error) {
	k, err := pbkdf2.Key(sha256.New, code, salt, 2<<16, 32)
	if err != nil {
		return nil, fmt.Errorf("link: key of the code: %w", err)
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("link: key of the code: %w", err)
	}
	out := make([]byte, len(key))
	cipher.NewCTR(block, iv).XORKeyStream(out, key)
	return out, nil
}

// agree is X25519.
func agree(private, public []byte) ([]byte, error) {
	priv, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("link: private key: %w", err)
	}
	pub, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("link: public key: %w", err)
	}
	shared, err := priv.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("link: shared secret: %w", err)
	}
	return shared, nil
}
