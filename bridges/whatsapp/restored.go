//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mimigate/core/adapter"
)

// forgetRestored gives up what a backup has brought back of Signal's ratchets, which since may have gone on (design §7): sessions and sender keys. The
// link itself stays; whoever writes to us next is asked for it again in a new session.
func forgetRestored(ctx context.Context, dir string) (err error) {
	mark := filepath.Join(dir, adapter.RestoredFile)
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, deviceFile)+"?_busy_timeout=10000&_secure_delete=on")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, table := range []string{"whatsmeow_sessions", "whatsmeow_sender_keys"} {
		var there int
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?`, table).Scan(&there); err != nil {
			return fmt.Errorf("restored device store: %w", err)
		}
		if there == 0 {
			continue // nothing is in the file yet
		}
		if _, err := db.ExecContext(ctx, `DELETE FROM `+table); err != nil {
			return fmt.Errorf("restored device store: %w", err)
		}
	}
	return os.Remove(mark)
}
