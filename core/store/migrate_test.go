package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"mimigate/core/store/database"
	"mimigate/core/store/work"
)

//go:embed testdata/*.sql
var testdata embed.FS

// bare opens the database of a store without a schema.
func bare(t *testing.T, o Options) *database.Database {
	t.Helper()
	d, err := database.Open(t.Context(), database.Options{Location: o.Location, Dir: o.Dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// column reads the first column of a query, as text.
func column(t *testing.T, d *database.Database, query string, args ...any) []string {
	t.Helper()
	rows, err := d.Query(query, args...)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	readErr, eachErr := work.ReadRows(rows, func(scan func(...any) error) error {
		var text string
		err := scan(&text)
		all = append(all, strings.Join(strings.Fields(text), " "))
		return err
	})
	if err := errors.Join(readErr, eachErr); err != nil {
		t.Fatal(err)
	}
	return all
}

// schema returns what the schema consists of.
func schema(t *testing.T, o Options, d *database.Database) string {
	t.Helper()
	if !database.IsURL(o.Location) {
		return strings.Join(column(t, d, `SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name`), "\n")
	}
	return strings.Join(slices.Concat(
		column(t, d, `SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable FROM information_schema.columns
			WHERE table_schema = current_schema() ORDER BY 1`),
		column(t, d, `SELECT replace(indexdef, current_schema() || '.', '') FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1`),
		column(t, d, `SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
			WHERE connamespace = current_schema()::regnamespace ORDER BY 1`)), "\n")
}

func steps(t *testing.T) []database.Migration {
	t.Helper()
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// From every earlier version, with the rows that testdata/NNN.sql puts into it, the schema comes out the same, and no row
// refers to nothing.
func TestMigrateFromEach(t *testing.T) {
	for name, fresh := range map[string]func(*testing.T) Options{
		"sqlite": func(t *testing.T) Options { return options(t) }, "postgres": func(t *testing.T) Options { return postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			o := fresh(t)
			d := bare(t, o)
			if err := d.Migrate(steps(t)); err != nil {
				t.Fatal(err)
			}
			want := schema(t, o, d)
			for from := 1; from <= len(steps(t)); from++ {
				t.Run(fmt.Sprint(from), func(t *testing.T) { migrateFrom(t, fresh(t), from, want) })
			}
		})
	}
}

func migrateFrom(t *testing.T, o Options, from int, want string) {
	d := bare(t, o)
	if err := d.Migrate(steps(t)[:from]); err != nil {
		t.Fatal(err)
	}
	rows, err := fs.ReadFile(testdata, fmt.Sprintf("testdata/%03d.sql", from))
	if err != nil {
		t.Fatalf("every version has its rows in testdata: %v", err)
	}
	text := string(rows)
	if database.IsURL(o.Location) { // the one literal that is written differently
		text = regexp.MustCompile(`(?i)\bx'([0-9a-f]*)'`).ReplaceAllString(text, `'\x$1'`)
	}
	if _, err := d.Exec(text); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := d.Migrate(steps(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := schema(t, o, d); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !database.IsURL(o.Location) { // PostgreSQL has checked them
		if n := column(t, d, `SELECT COUNT(*) FROM pragma_foreign_key_check`); n[0] != "0" {
			t.Errorf("%s rows refer to nothing", n[0])
		}
	}
	if n := column(t, d, `SELECT CAST(COUNT(*) AS TEXT) FROM account_state WHERE account = 'from version 1'`); n[0] != "1" {
		t.Errorf("the row of version 1 is lost: %s", n[0])
	}
}

func TestMigrateRefuses(t *testing.T) {
	good := []database.Migration{{Version: 1, Text: "CREATE TABLE a (x BIGINT);"}}
	both(t, func(t *testing.T, o Options) {
		d := bare(t, o)
		half := append(slices.Clone(good), database.Migration{Version: 2, Text: "CREATE TABLE b (x BIGINT); INSERT INTO nothing VALUES (1);"})
		if err := d.Migrate(half); err == nil || !strings.Contains(err.Error(), "migration 2") {
			t.Fatalf("a step that fails: %v", err)
		}
		if got := schema(t, o, d); regexp.MustCompile(`(?m)^(CREATE TABLE )?b `).MatchString(got) || !regexp.MustCompile(`(?m)^(CREATE TABLE )?a `).MatchString(got) {
			t.Errorf("a failed step left half of itself: %s", got)
		}
		whole := append(slices.Clone(good), database.Migration{Version: 2, Text: "CREATE TABLE b (x BIGINT)"})
		if err := d.Migrate(whole); err != nil {
			t.Errorf("the step, mended: %v", err)
		}
		if err := d.Migrate(good); !errors.Is(err, ErrNewer) {
			t.Errorf("a newer schema: %v", err)
		}
	})
	for _, name := range []string{"003_gap.sql", "x_name.sql"} {
		files := fstest.MapFS{"001_a.sql": {Data: []byte("CREATE TABLE a (x BIGINT)")}, name: {}}
		if _, err := database.ReadMigrations(files); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// Every table is known, each after those that its rows refer to: a backup is read in this order.
func TestTables(t *testing.T) {
	all := database.Tables(steps(t))
	d := bare(t, options(t))
	if err := d.Migrate(steps(t)); err != nil {
		t.Fatal(err)
	}
	there := column(t, d, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('store_owner', 'schema_version') ORDER BY name`)
	if got := slices.Sorted(slices.Values(all)); !slices.Equal(got, there) {
		t.Errorf("got  %v\nwant %v", got, there)
	}
	for i, name := range all {
		for _, parent := range column(t, d, `SELECT "table" FROM pragma_foreign_key_list('`+name+`')`) {
			if slices.Index(all, parent) > i {
				t.Errorf("%s comes before %s, which it refers to", name, parent)
			}
		}
	}
	changed := []database.Migration{{Text: "CREATE TABLE a (x BIGINT); -- CREATE TABLE no\nCREATE TABLE b (x BIGINT)"}, {Text: "DROP TABLE a; ALTER TABLE b RENAME TO c; ALTER TABLE c ADD COLUMN y BIGINT"}}
	if got := database.Tables(changed); !slices.Equal(got, []string{"c"}) {
		t.Errorf("after changes: %v", got)
	}
}

// Migrations use what SQLite and PostgreSQL both understand, and mean the same by.
func TestMigrationsArePortable(t *testing.T) {
	foreign := regexp.MustCompile(`(?i)\b(blob|autoincrement|without|rowid|datetime|timestamptz?|serial|bytes|real|boolean|pragma|strict|glob|deferrable|replace|integer)\b|[?$` + "`" + `\[]`)
	comment := regexp.MustCompile(`--[^\n]*`)
	for _, m := range steps(t) {
		if found := foreign.FindString(comment.ReplaceAllString(m.Text, "")); found != "" {
			t.Errorf("migration %d uses %q", m.Version, found)
		}
	}
}

func TestOpenNewer(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
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
	})
}
