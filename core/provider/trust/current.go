package trust

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	renewBefore = certificateLife / 3 // of its end
	lookAgain   = 10 * time.Second    // between two looks at the files
)

// Current is the certificate that we show now. It is asked for each connection, so that a new one takes effect without a restart.
// Its methods may be called from several goroutines.
type Current struct {
	now  func() time.Time
	load func() (*tls.Certificate, error) // makes or reads another one
	due  func(now time.Time) bool         // whether it may be time for that
	log  *slog.Logger

	mu   sync.Mutex
	have *tls.Certificate
}

// Issued returns certificates of our own authority, each renewed well before its end.
func Issued(a *Authority, now func() time.Time, log *slog.Logger) *Current {
	c := &Current{now: now, log: log}
	c.load = func() (*tls.Certificate, error) { return a.Issue(now()) }
	c.due = func(now time.Time) bool { return c.have.Leaf.NotAfter.Sub(now) < renewBefore }
	return c
}

// Files returns the certificate of two files in PEM form, the chain and the key, read again when one has changed. Files that cannot be
// used leave the one before in its place.
func Files(chain, key string, now func() time.Time, log *slog.Logger) *Current {
	c := &Current{now: now, log: log}
	var looked time.Time
	var seen [2]state
	c.load = func() (*tls.Certificate, error) {
		looked, seen = now(), [2]state{look(chain), look(key)}
		pair, err := tls.LoadX509KeyPair(chain, key)
		if err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
		return &pair, nil
	}
	c.due = func(now time.Time) bool {
		if now.Sub(looked) < lookAgain {
			return false
		}
		looked = now
		return seen != [2]state{look(chain), look(key)}
	}
	return c
}

// state is what shows that a file was written anew.
type state struct {
	size int64
	at   time.Time
}

func look(file string) state {
	info, err := os.Stat(file)
	if err != nil {
		return state{}
	}
	return state{info.Size(), info.ModTime()}
}

// Certificate returns the certificate to show now. It fails only where there never was one.
func (c *Current) Certificate() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.have != nil && !c.due(c.now()) {
		return c.have, nil
	}
	next, err := c.load()
	switch {
	case err == nil:
		c.have = next
	case c.have == nil:
		return nil, err
	default:
		c.log.Error("the new certificate cannot be used, the one before stays", "error", err)
	}
	return c.have, nil
}
