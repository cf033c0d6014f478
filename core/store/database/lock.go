package database

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// LockFile is the name of the lock in its directory.
	LockFile = "mimigate.lock"
	// holderMax bounds what is read of a lock file, in octets.
	holderMax = 512
	nameless  = "a process that did not leave its name"
)

// lockDir takes the exclusive lock of a store's directory and writes into it who holds it. The operating system gives the
// lock back when the process ends, however it ends; the file stays. It fails with ErrLocked.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = fmt.Errorf("%w: %s is held by %s; stop that one, or give this one a store of its own", ErrLocked, dir, holder(f))
	case err != nil:
		err = fmt.Errorf("lock %s: %w", dir, err)
	default:
		err = writeHolder(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// self says who this is.
func self() string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	return fmt.Sprintf("pid %d on %s since %s", os.Getpid(), host, time.Now().Format(time.RFC3339))
}

func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if _, err := f.WriteAt([]byte(self()+"\n"), 0); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// holder reads who holds the lock; the text may be missing for a moment while the holder writes it.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, holderMax))
	text := strings.TrimSpace(string(b))
	if err != nil || text == "" {
		return nameless
	}
	return text
}
