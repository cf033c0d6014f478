//go:build !nowhatsapp

package wire

import (
	"encoding/json"
	"errors"
	"fmt"

	"mimigate/core/adapter"
)

// File is what is needed to fetch and decrypt a file of WhatsApp's, or to send it on.
type File struct {
	Kind   string `json:"k"` // whatsmeow's media type: "WhatsApp Image Keys"…
	Path   string `json:"p"` // direct path on WhatsApp's media hosts
	Key    []byte `json:"m"` // media key, 32 octets
	Hash   []byte `json:"h"` // SHA-256 of the plaintext
	Cipher []byte `json:"c"` // SHA-256 of what is fetched
	Size   uint64 `json:"s"` // octets of plaintext
}

// ErrFile is wrapped by ParseFile.
var ErrFile = errors.New("not a file of WhatsApp")

// Blob is the file as a handle.
func (f File) Blob() adapter.Blob {
	raw, err := json.Marshal(f)
	if err != nil { // strings and octets always encode
		return ""
	}
	return adapter.Blob(raw)
}

// ParseFile reads a handle made by Blob.
func ParseFile(b adapter.Blob) (File, error) {
	var f File
	if err := json.Unmarshal([]byte(b), &f); err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if f.Path == "" || len(f.Key) != 32 || len(f.Hash) != 32 || len(f.Cipher) != 32 {
		return File{}, ErrFile
	}
	return f, nil
}
