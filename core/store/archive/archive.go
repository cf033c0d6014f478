// Package archive is the file that a backup of a store is: a stream that is written and read with bounded memory, checked as a whole
// before anything of it is used.
//
//	file   = "mimigate backup 1\n" | frame…
//	frame  = kind (1) | length of the payload (4, big endian) | payload
//	header (H) = CBOR of Header; the first frame, and in the clear
//	table  (T) = CBOR of a Table: rows of it follow
//	rows   (R) = CBOR array of rows, each an array of integers, text strings, byte strings and nulls
//	file   (F) = the path of a file, with slashes: its data follows
//	data   (D) = some of the file's data
//	end    (E) = SHA-256 of all octets before this frame; the last frame
//
// The payloads of all frames but the first and the last are sealed, each for its kind and number, as whoever makes the archive says. Whether it is
// whole can be told without any key.
package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"

	"github.com/fxamacker/cbor/v2"
)

// Errors that a caller decides by.
var (
	// ErrFormat: it is no backup of a store, or one that a newer version of mimigate has made.
	ErrFormat = errors.New("this is no backup of a mimigate store")
	// ErrDamaged: it is cut off or was altered.
	ErrDamaged = errors.New("the backup is damaged: it is cut off or was altered")
	// ErrNewer: a newer version of mimigate has made it.
	ErrNewer = errors.New("the backup was made by a newer mimigate")
)

const (
	magic = "mimigate backup "
	// version of the format.
	version = "1\n"

	rowsMax  = 1 << 16  // octets of rows in a frame, unless one row is longer
	chunk    = 1 << 18  // octets of data in a frame
	frameMax = 64 << 20 // octets; a row is never longer
)

const (
	kindHeader = 'H'
	kindTable  = 'T'
	kindRows   = 'R'
	kindFile   = 'F'
	kindData   = 'D'
	kindEnd    = 'E'
)

// Header says what is in an archive.
type Header struct {
	Made    int64    // Unix milliseconds
	Schema  int      // version of the store's schema
	Domain  string   // of the provider
	Masters []string // ids of the master keys that are needed: for Key, and for the store's data keys
	Key     []byte   // what the frames are sealed with, itself sealed under a master key
}

// Cipher seals the payload of a frame, or opens it: for its kind and for its number, from 0.
type Cipher func(kind byte, number uint64, payload []byte) ([]byte, error)

// Table is the name of a table and of its columns.
type Table struct {
	Name    string
	Columns []string
}

// Writer writes an archive.
type Writer struct {
	out  *bufio.Writer
	sum  hash.Hash
	seal Cipher
	n    uint64 // frames so far
	rows []cbor.RawMessage
	size int
	err  error
}

// NewWriter begins an archive. Errors of the writer are kept, and told by Close.
func NewWriter(w io.Writer, h Header, seal Cipher) *Writer {
	out := &Writer{out: bufio.NewWriterSize(w, chunk), sum: sha256.New(), seal: seal}
	out.write([]byte(magic + version))
	if b, err := cbor.Marshal(h); err != nil {
		out.err = err
	} else {
		out.raw(kindHeader, b)
	}
	return out
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(b)
	_, w.err = w.out.Write(b)
}

// frame seals a payload and writes it.
func (w *Writer) frame(kind byte, payload []byte) {
	if w.err == nil {
		payload, w.err = w.seal(kind, w.n, payload)
	}
	w.n++
	w.raw(kind, payload)
}

func (w *Writer) raw(kind byte, payload []byte) {
	if len(payload) > frameMax && w.err == nil {
		w.err = fmt.Errorf("a row of %d octets; at most %d can be backed up", len(payload), frameMax)
	}
	w.write(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload))))
	w.write(payload)
}

func (w *Writer) encode(kind byte, v any) {
	b, err := cbor.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.frame(kind, b)
}

func (w *Writer) flush() {
	if len(w.rows) > 0 {
		w.encode(kindRows, w.rows)
		w.rows, w.size = w.rows[:0], 0
	}
}

// Table begins a table.
func (w *Writer) Table(t Table) {
	w.flush()
	w.encode(kindTable, t)
}

// Row adds a row to the table: int64, string, []byte or nil.
func (w *Writer) Row(values []any) error {
	b, err := cbor.Marshal(values)
	if err != nil && w.err == nil {
		w.err = err
	}
	if w.rows, w.size = append(w.rows, b), w.size+len(b); w.size >= rowsMax {
		w.flush()
	}
	return w.err
}

// File adds a file.
func (w *Writer) File(path string, r io.Reader) error {
	w.flush()
	w.frame(kindFile, []byte(path))
	buf := make([]byte, chunk)
	for w.err == nil {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			w.frame(kindData, buf[:n])
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return w.err
		case err != nil:
			return err
		}
	}
	return w.err
}

// Close ends the archive. It does not close the writer below.
func (w *Writer) Close() error {
	w.flush()
	w.raw(kindEnd, w.sum.Sum(nil))
	if w.err == nil {
		w.err = w.out.Flush()
	}
	return w.err
}

// Contents take what Read reads. What is nil is passed over.
type Contents struct {
	// Header returns what opens the frames; nil: they are not opened, and nothing else is called.
	Header func(Header) (Cipher, error)
	Table  func(Table) error
	Row    func([]any) error // int64, string, []byte or nil; one for each column
	// File returns where a file's data goes. The path is local (see filepath.IsLocal). It is closed at the file's end.
	File func(path string) (io.WriteCloser, error)
}

// Read reads an archive to its end. It fails with ErrFormat, ErrNewer, ErrDamaged, or what Contents fail with. That it is whole is
// known only at the end: so it is read once with empty Contents before it is used.
func Read(r io.Reader, into Contents) (err error) {
	a := &reader{in: bufio.NewReaderSize(r, chunk), sum: sha256.New(), into: into}
	if err := a.begin(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.endFile()) }()
	for {
		before := a.sum.Sum(nil)
		kind, payload, err := a.frame()
		if err != nil {
			return err
		}
		if kind == kindEnd {
			if !bytes.Equal(payload, before) {
				return ErrDamaged
			}
			if _, err := a.in.ReadByte(); err != io.EOF {
				return fmt.Errorf("%w: something stands behind its end", ErrDamaged)
			}
			return nil
		}
		if a.open != nil {
			if payload, err = a.open(kind, a.n, payload); err != nil {
				return err
			}
			if err := a.take(kind, payload); err != nil {
				return err
			}
		}
		a.n++
	}
}

type reader struct {
	in      *bufio.Reader
	sum     hash.Hash
	into    Contents
	open    Cipher
	n       uint64         // frames so far
	columns int            // of the table; 0: no table yet
	file    io.WriteCloser // that data goes to
	inFile  bool
}

func (a *reader) begin() error {
	head := make([]byte, len(magic)+len(version))
	if _, err := io.ReadFull(a.in, head); err != nil || string(head[:len(magic)]) != magic {
		return ErrFormat
	}
	if string(head[len(magic):]) != version {
		return ErrNewer
	}
	a.sum.Write(head)
	kind, payload, err := a.frame()
	if err != nil {
		return err
	}
	var h Header
	if kind != kindHeader || strict.Unmarshal(payload, &h) != nil {
		return ErrDamaged
	}
	if a.into.Header != nil {
		a.open, err = a.into.Header(h)
	}
	return err
}

// frame reads a frame. Memory is taken as data comes, not as a length promises.
func (a *reader) frame() (kind byte, payload []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(a.in, head); err != nil {
		return 0, nil, cut(err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > frameMax {
		return 0, nil, ErrDamaged
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, a.in, int64(n)); err != nil {
		return 0, nil, cut(err)
	}
	a.sum.Write(head)
	a.sum.Write(b.Bytes())
	return head[0], b.Bytes(), nil
}

// cut tells the early end of an archive from an error of the file.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrDamaged
	}
	return err
}

// strict decodes integers as int64, and text that SQLite took although it is no UTF-8.
var strict = func() cbor.DecMode {
	mode, err := cbor.DecOptions{IntDec: cbor.IntDecConvertSigned, UTF8: cbor.UTF8DecodeInvalid, MaxArrayElements: 1 << 20, MaxNestedLevels: 8}.DecMode()
	if err != nil {
		panic("archive: " + err.Error()) // the options are constant
	}
	return mode
}()

func (a *reader) take(kind byte, payload []byte) error {
	switch kind {
	case kindTable:
		return a.table(payload)
	case kindRows:
		return a.rows(payload)
	case kindFile:
		return a.begins(string(payload))
	case kindData:
		if !a.inFile {
			return ErrDamaged
		}
		if a.file == nil {
			return nil
		}
		_, err := a.file.Write(payload)
		return err
	}
	return ErrDamaged
}

func (a *reader) table(payload []byte) error {
	if err := a.endFile(); err != nil {
		return err
	}
	var t Table
	if strict.Unmarshal(payload, &t) != nil || len(t.Columns) == 0 {
		return ErrDamaged
	}
	if a.columns = len(t.Columns); a.into.Table == nil {
		return nil
	}
	return a.into.Table(t)
}

func (a *reader) rows(payload []byte) error {
	var rows [][]any
	if a.columns == 0 || a.inFile || strict.Unmarshal(payload, &rows) != nil {
		return ErrDamaged
	}
	for _, row := range rows {
		if len(row) != a.columns {
			return ErrDamaged
		}
		for _, v := range row {
			switch v.(type) {
			case nil, int64, string, []byte:
			default:
				return ErrDamaged
			}
		}
		if a.into.Row == nil {
			continue
		}
		if err := a.into.Row(row); err != nil {
			return err
		}
	}
	return nil
}

func (a *reader) begins(path string) (err error) {
	if err := a.endFile(); err != nil {
		return err
	}
	if !filepath.IsLocal(path) {
		return ErrDamaged
	}
	a.inFile = true
	if a.into.File != nil {
		a.file, err = a.into.File(path)
	}
	return err
}

func (a *reader) endFile() error {
	f := a.file
	a.file, a.inFile = nil, false
	if f == nil {
		return nil
	}
	return f.Close()
}
