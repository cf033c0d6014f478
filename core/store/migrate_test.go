package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

//go:embed testdata/*.sql
var testdata embed.FS

func rawConn(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?_foreign_keys=on")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// schema returns the statements that the schema consists of, without their layout.
func schema(t *testing.T, conn *sql.Conn) string {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), `SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	readErr, eachErr := readRows(rows, func(scan func(...any) error) error {
		var text string
		err := scan(&text)
		all = append(all, strings.Join(strings.Fields(text), " "))
		return err
	})
	if err := errors.Join(readErr, eachErr); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// first returns the migrations up to a version.
func first(t *testing.T, version int) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	names, err := fs.Glob(migrations(), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names[:version] {
		text, err := fs.ReadFile(migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: text}
	}
	return out
}

// From every earlier version, with the rows that testdata/NNN.sql puts into it, the schema comes out the same, and no row
// refers to nothing.
func TestMigrateFromEach(t *testing.T) {
	steps, err := readMigrations(migrations())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	fresh := rawConn(t, filepath.Join(t.TempDir(), "fresh"))
	if err := migrate(ctx, fresh, sqlite, migrations()); err != nil {
		t.Fatal(err)
	}
	want := schema(t, fresh)
	for from := 1; from <= len(steps); from++ {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			conn := rawConn(t, filepath.Join(t.TempDir(), "old"))
			if err := migrate(ctx, conn, sqlite, first(t, from)); err != nil {
				t.Fatal(err)
			}
			rows, err := fs.ReadFile(testdata, fmt.Sprintf("testdata/%03d.sql", from))
			if err != nil {
				t.Fatalf("every version has its rows in testdata: %v", err)
			}
			if _, err := conn.ExecContext(ctx, string(rows)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time there is nothing to do
				if err := migrate(ctx, conn, sqlite, migrations()); err != nil {
					t.Fatal(err)
				}
			}
			if got := schema(t, conn); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			var n int
			if err := conn.QueryRowContext(ctx, `SELECT COUNT(*) FROM pragma_foreign_key_check`).Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows refer to nothing (%v)", n, err)
			}
			if err := conn.QueryRowContext(ctx, `SELECT COUNT(*) FROM account_state WHERE account = 'from version 1'`).Scan(&n); err != nil || n != 1 {
				t.Errorf("the row of version 1 is lost: %d, %v", n, err)
			}
		})
	}
}

func TestMigrateRefuses(t *testing.T) {
	ctx := t.Context()
	good := func() fstest.MapFS { return fstest.MapFS{"001_a.sql": {Data: []byte("CREATE TABLE a (x BIGINT)")}} }
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

	conn := rawConn(t, filepath.Join(t.TempDir(), "db"))
	half := good()
	half["002_b.sql"] = file("CREATE TABLE b (x BIGINT); INSERT INTO nothing VALUES (1);")
	if err := migrate(ctx, conn, sqlite, half); err == nil || !strings.Contains(err.Error(), "migration 2") {
		t.Fatalf("a step that fails: %v", err)
	}
	if got := schema(t, conn); strings.Contains(got, "TABLE b") || !strings.Contains(got, "TABLE a") {
		t.Errorf("a failed step left half of itself: %s", got)
	}
	whole := good()
	whole["002_b.sql"] = file("CREATE TABLE b (x BIGINT)")
	if err := migrate(ctx, conn, sqlite, whole); err != nil {
		t.Errorf("the step, mended: %v", err)
	}
	if err := migrate(ctx, conn, sqlite, good()); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer schema: %v", err)
	}
	for _, name := range []string{"003_gap.sql", "x_name.sql"} {
		bad := good()
		bad[name] = file("")
		if _, err := readMigrations(bad); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// Migrations use what SQLite and PostgreSQL both understand, and mean the same by.
func TestMigrationsArePortable(t *testing.T) {
	steps, err := readMigrations(migrations())
	if err != nil {
		t.Fatal(err)
	}
	foreign := regexp.MustCompile(`(?i)\b(blob|autoincrement|without|rowid|datetime|timestamptz?|serial|bytes|real|boolean|pragma|strict|glob|deferrable|replace|integer)\b|[?$` + "`" + `\[]`)
	comment := regexp.MustCompile(`--[^\n]*`)
	for _, m := range steps {
		if found := foreign.FindString(comment.ReplaceAllString(m.text, "")); found != "" {
			t.Errorf("migration %d uses %q", m.version, found)
		}
	}
}

func TestOpenNewer(t *testing.T) {
	o := options(t)
	s := open(t, o)
	if err := s.Do(t.Context(), func(ctx context.Context) error {
		_, err := s.exec(ctx, `INSERT INTO schema_version (version) VALUES (1000)`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
}
