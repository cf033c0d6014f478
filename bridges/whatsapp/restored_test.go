//go:build !nowhatsapp

package whatsapp

import (
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"mimigate/core/adapter"
)

// TestRestored: where a backup has brought the device store back, its ratchets are given up, once; otherwise they stay.
func TestRestored(t *testing.T) {
	account := adapter.Account{ID: "wa", Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	reopen := func() {
		t.Helper()
		d, err := openDevice(t.Context(), account, Lab{})
		if err != nil {
			t.Fatal(err)
		}
		d.close()
	}
	reopen() // makes the file
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(account.Dir, deviceFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	sessions := func() (n int) {
		t.Helper()
		if err := db.QueryRow(`SELECT (SELECT COUNT(*) FROM whatsmeow_sessions) + (SELECT COUNT(*) FROM whatsmeow_sender_keys)`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := db.Exec(`INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES ('a', 'b', x'00');
		INSERT INTO whatsmeow_sender_keys (our_jid, chat_id, sender_id, sender_key) VALUES ('a', 'b', 'c', x'00')`); err != nil {
		t.Fatal(err)
	}
	if reopen(); sessions() != 2 {
		t.Errorf("%d sessions after an ordinary start", sessions())
	}
	mark := filepath.Join(account.Dir, adapter.RestoredFile)
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if reopen(); sessions() != 0 {
		t.Errorf("%d sessions after a restore", sessions())
	}
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark is there still: %v", err)
	}
}
