//go:build !nowhatsapp

// Package blob is WhatsApp's media hosts: what clients encrypted, under paths.
package blob

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Auth is what uploads authenticate with.
const Auth = "media auth"

// Host is the host that media is at.
const Host = "mmg.whatsapp.net"

// maxSize is the largest upload in octets; more is refused with 413.
const maxSize = 64 << 20

// Store keeps media. The zero value is empty; its methods are for any goroutine.
type Store struct {
	mu    sync.Mutex
	media map[string][]byte // by path
	last  int
}

// Handle adds the paths of the media hosts.
func (s *Store) Handle(mux *http.ServeMux) {
	mux.HandleFunc("POST /mms/{type}/{token}", s.upload)
	mux.HandleFunc("DELETE /mms/{type}/{token}", s.remove)
	mux.HandleFunc("GET /v/{name}", s.download)
}

// Put keeps media and returns its path, to which a client adds parameters.
func (s *Store) Put(media []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.media == nil {
		s.media = map[string][]byte{}
	}
	s.last++
	path := "/v/" + strconv.Itoa(s.last) + ".enc"
	s.media[path] = media
	return path + "?ccb=11-4"
}

// Expire forgets all media: who asks for it gets 410.
func (s *Store) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.media)
}

// upload takes what a client encrypted and names by its hash.
func (s *Store) upload(w http.ResponseWriter, r *http.Request) {
	media, err := io.ReadAll(io.LimitReader(r.Body, maxSize+1))
	sum := sha256.Sum256(media)
	switch {
	case err != nil:
		http.Error(w, "read", http.StatusBadRequest)
	case len(media) > maxSize:
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case r.URL.Query().Get("auth") != Auth:
		http.Error(w, "auth", http.StatusUnauthorized)
	case r.PathValue("token") != base64.URLEncoding.EncodeToString(sum[:]):
		http.Error(w, "hash", http.StatusBadRequest)
	default:
		path := s.Put(media)
		_ = json.NewEncoder(w).Encode(map[string]string{"url": "https://" + Host + path, "direct_path": path}) // the client notices
	}
}

func (s *Store) download(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	media, ok := s.media[r.URL.Path]
	s.mu.Unlock()
	if !ok {
		http.Error(w, "gone", http.StatusGone)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(media))
}

func (s *Store) remove(w http.ResponseWriter, r *http.Request) {
	path, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("d_md"))
	if err != nil || r.URL.Query().Get("auth") != Auth {
		http.Error(w, "path or auth", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.media, string(path))
}
