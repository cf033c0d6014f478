package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

func migrations() fs.FS {
	sub, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		panic("store: " + err.Error()) // "migrations" is a valid path
	}
	return sub
}

// migration is one step of the schema: from version-1 to version. A step that was released is never changed, only
// followed by another.
type migration struct {
	version int
	text    string
}

// readMigrations reads files named 001_something.sql, numbered from 1 without a gap.
func readMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []migration
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != len(list)+1 {
			return nil, fmt.Errorf("migration %s: want number %d", name, len(list)+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		list = append(list, migration{version, string(text)})
	}
	return list, nil
}

// migrate brings the schema forward to the newest version, each step in a transaction. It fails with ErrNewer where the schema is
// newer than that. No other connection writes meanwhile.
func migrate(ctx context.Context, conn *sql.Conn, d dialect, files fs.FS) error {
	steps, err := readMigrations(files)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)`); err != nil {
		return err
	}
	var at int
	if err := conn.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`).Scan(&at); err != nil {
		return err
	}
	if at > len(steps) {
		return fmt.Errorf("%w: its schema has version %d, this one knows %d; install the newer one, or restore a backup", ErrNewer, at, len(steps))
	}
	for _, m := range steps[at:] {
		text := fmt.Sprintf("%s; %s; INSERT INTO schema_version (version) VALUES (%d); COMMIT",
			d.begin, strings.TrimSuffix(strings.TrimSpace(m.text), ";"), m.version)
		if _, err := conn.ExecContext(ctx, text); err != nil {
			_, _ = conn.ExecContext(ctx, "ROLLBACK") // fails where it was rolled back already
			return fmt.Errorf("migration %d: %w", m.version, err)
		}
	}
	return nil
}
