package database

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Migration is one step of a schema: from Version-1 to Version. A step that was released is never changed, only followed by
// another.
type Migration struct {
	Version int
	Text    string // statements
}

// ReadMigrations reads files named 001_something.sql, numbered from 1 without a gap.
func ReadMigrations(files fs.FS) ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []Migration
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
		list = append(list, Migration{version, string(text)})
	}
	return list, nil
}

var (
	comments = regexp.MustCompile(`--[^\n]*`)
	tableDDL = regexp.MustCompile(`(?i)\b(CREATE TABLE|DROP TABLE|ALTER TABLE)\s+(\w+)(?:\s+RENAME TO\s+(\w+))?`)
)

// Tables returns the tables that migrations make, each after all those that its rows refer to.
func Tables(steps []Migration) []string {
	var list []string
	for _, m := range steps {
		for _, found := range tableDDL.FindAllStringSubmatch(comments.ReplaceAllString(m.Text, ""), -1) {
			name := found[2]
			switch at := slices.Index(list, name); {
			case strings.EqualFold(found[1], "CREATE TABLE"):
				list = append(list, name)
			case at >= 0 && strings.EqualFold(found[1], "DROP TABLE"):
				list = slices.Delete(list, at, at+1)
			case at >= 0 && found[3] != "":
				list[at] = found[3]
			}
		}
	}
	return list
}

// Version returns the version of the schema, 0 for none yet.
func (d *Database) Version() (int, error) {
	if _, err := d.Exec(`CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)`); err != nil {
		return 0, err
	}
	rows, err := d.Query(`SELECT COALESCE(MAX(version), 0) FROM schema_version`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var at int
	rows.Next()
	return at, rows.Scan(&at)
}

// Migrate brings the schema forward to the newest version, each step in a transaction. It fails with ErrNewer where the schema is
// newer than that.
func (d *Database) Migrate(steps []Migration) error {
	at, err := d.Version()
	if err != nil {
		return err
	}
	if at > len(steps) {
		return fmt.Errorf("%w: its schema has version %d, this one knows %d; install the newer one, or restore a backup", ErrNewer, at, len(steps))
	}
	for _, m := range steps[at:] {
		if err := d.Begin(); err != nil {
			return err
		}
		if err := d.Apply(m); err != nil {
			d.Rollback()
			return err
		}
		if err := d.Commit(); err != nil {
			return fmt.Errorf("migration %d: %w", m.Version, err)
		}
	}
	return nil
}

// Apply runs one step in the writer's transaction.
func (d *Database) Apply(m Migration) error {
	text := fmt.Sprintf("%s; INSERT INTO schema_version (version) VALUES (%d)", strings.TrimSuffix(strings.TrimSpace(m.Text), ";"), m.Version)
	if _, err := d.Exec(text); err != nil {
		return fmt.Errorf("migration %d: %w", m.Version, err)
	}
	return nil
}
