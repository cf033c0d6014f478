package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// shift is a cipher that opens what it seals, for the same kind and number.
func shift(kind byte, n uint64, payload []byte) ([]byte, error) {
	out := bytes.Clone(payload)
	for i := range out {
		out[i] ^= kind + byte(n) + 1
	}
	return out, nil
}

func shifted(Header) (Cipher, error) { return shift, nil }

// sample is a small archive, and what is in it as told writes it.
func sample(t testing.TB) ([]byte, string) {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, Header{Made: 1, Schema: 3, Domain: "a.example", Masters: []string{"0011"}, Key: []byte{1}}, shift)
	w.Table(Table{"one", []string{"a", "b"}})
	for i := range 3 {
		if err := w.Row([]any{int64(i), "text"}); err != nil {
			t.Fatal(err)
		}
	}
	w.Table(Table{"two", []string{"a", "b", "c"}})
	if err := w.Row([]any{int64(math.MinInt64), nil, []byte{}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Row([]any{int64(math.MaxInt64), "\xff\x00", []byte("\x00\xff")}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.File("accounts/a/empty", strings.NewReader("")), w.File("accounts/a/file", strings.NewReader("data")), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), `{1 3 a.example [0011] [1]}
{one [a b]}
[0 "text"]
[1 "text"]
[2 "text"]
{two [a b c]}
[-9223372036854775808 <nil> []byte ""]
[9223372036854775807 "\xff\x00" []byte "\x00\xff"]
file accounts/a/empty: 
file accounts/a/file: data
`
}

type sink struct{ *strings.Builder }

func (s sink) Close() error { s.WriteString("\n"); return nil }

// told reads an archive into text.
func told(r io.Reader) (string, error) {
	var text strings.Builder
	err := Read(r, Contents{
		Header: func(h Header) (Cipher, error) { fmt.Fprintln(&text, h); return shift, nil },
		Table:  func(t Table) error { fmt.Fprintln(&text, t); return nil },
		Row: func(row []any) error {
			for i, v := range row {
				switch v := v.(type) {
				case string:
					row[i] = fmt.Sprintf("%q", v)
				case []byte:
					row[i] = fmt.Sprintf("[]byte %q", v)
				}
			}
			fmt.Fprintln(&text, row)
			return nil
		},
		File: func(path string) (io.WriteCloser, error) {
			fmt.Fprintf(&text, "file %s: ", path)
			return sink{&text}, nil
		},
	})
	return text.String(), err
}

func TestRead(t *testing.T) {
	file, want := sample(t)
	got, err := told(bytes.NewReader(file))
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	if err := Read(bytes.NewReader(file), Contents{}); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"text", "accounts", "data", "one"} {
		if bytes.Contains(file, []byte(text)) {
			t.Errorf("%q is in the clear", text)
		}
	}
}

// Cut off anywhere, or with any bit turned, it is refused.
func TestDamaged(t *testing.T) {
	file, _ := sample(t)
	for n := range file {
		if err := Read(bytes.NewReader(file[:n]), Contents{}); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Errorf("cut to %d octets: %v", n, err)
		}
		altered := bytes.Clone(file)
		altered[n] ^= 1
		if err := Read(bytes.NewReader(altered), Contents{}); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrNewer) {
			t.Errorf("altered at %d: %v", n, err)
		}
	}
	if err := Read(bytes.NewReader(append(bytes.Clone(file), 0)), Contents{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("longer: %v", err)
	}
	for want, text := range map[error]string{ErrFormat: "SQLite format 3\x00 and so on", ErrNewer: "mimigate backup 2\n"} {
		if err := Read(strings.NewReader(text), Contents{}); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A whole archive whose contents no Writer made is refused too.
func TestRefused(t *testing.T) {
	for name, make := range map[string]func(*Writer){
		"a path that leads out":   func(w *Writer) { w.frame(kindFile, []byte("../x")) },
		"data of no file":         func(w *Writer) { w.frame(kindData, []byte("x")) },
		"rows of no table":        func(w *Writer) { w.rows = append(w.rows, []byte{0x81, 0x01}) },
		"a row too short":         func(w *Writer) { w.Table(Table{"t", []string{"a", "b"}}); _ = w.Row([]any{int64(1)}) },
		"a row of something else": func(w *Writer) { w.Table(Table{"t", []string{"a"}}); _ = w.Row([]any{1.5}) },
		"a table of no columns":   func(w *Writer) { w.Table(Table{"t", nil}) },
		"an unknown frame":        func(w *Writer) { w.frame('X', nil) },
	} {
		var b bytes.Buffer
		w := NewWriter(&b, Header{}, shift)
		make(w)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := Read(&b, Contents{Header: shifted}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var b bytes.Buffer
	w := NewWriter(&b, Header{}, shift)
	w.Table(Table{"t", []string{"a"}})
	if err := w.Row([]any{make([]byte, frameMax)}); err != nil && w.Close() == nil {
		t.Error("a row that no reader takes was written")
	}
}

// Many rows and a long file are written and read in pieces.
func TestPieces(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, Header{}, shift)
	w.Table(Table{"t", []string{"a"}})
	for i := range 5000 {
		if err := w.Row([]any{bytes.Repeat([]byte{byte(i)}, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	long := bytes.Repeat([]byte("0123456789"), chunk/4)
	if err := errors.Join(w.File("f", bytes.NewReader(long)), w.Close()); err != nil {
		t.Fatal(err)
	}
	rows, longest := 0, 0
	var f bytes.Buffer
	err := Read(&b, Contents{
		Header: shifted,
		Row: func(row []any) error {
			if v := row[0].([]byte); len(v) != 100 || v[0] != byte(rows) {
				t.Fatalf("row %d: %x", rows, v)
			}
			rows++
			return nil
		},
		File: func(string) (io.WriteCloser, error) {
			return writer(func(p []byte) (int, error) { longest = max(longest, len(p)); return f.Write(p) }), nil
		},
	})
	if err != nil || rows != 5000 || !bytes.Equal(f.Bytes(), long) || longest > chunk {
		t.Errorf("%v; %d rows, %d octets, %d at once", err, rows, f.Len(), longest)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
func (writer) Close() error                  { return nil }

func FuzzRead(f *testing.F) {
	file, _ := sample(f)
	f.Add(file)
	f.Add(file[:len(file)-37])
	f.Fuzz(func(t *testing.T, file []byte) {
		text, err := told(bytes.NewReader(file))
		if err == nil && text == "" {
			t.Fatal("an archive of nothing")
		}
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		}
	})
}
