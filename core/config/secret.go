package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// The forms of references to what does not stand in the configuration itself.
const (
	filePrefix    = "file:"
	envPrefix     = "env:"
	systemdPrefix = "systemd:"

	credentialsDir = "CREDENTIALS_DIRECTORY" // systemd.exec(5)
	referencedMax  = 1 << 20                 // octets of a file that is referred to
)

var errNoReference = errors.New("a secret is not written here: write file:/path, env:NAME or systemd:NAME, which says where it is")

// unreadable is the error of a reference that is well-formed, but leads to nothing. It may be mended without touching the
// configuration.
type unreadable struct{ text string }

func (e *unreadable) Error() string { return e.text }

// secret returns what a reference refers to, without the line's end. Errors never quote the reference unless it is one.
func (d *decoder) secret(ref string) (string, error) {
	var text string
	var err error
	if name, ok := strings.CutPrefix(ref, filePrefix); ok {
		text, err = d.readFile(name)
	} else if name, ok := strings.CutPrefix(ref, envPrefix); ok {
		text, err = d.readEnv(name)
	} else if name, ok := strings.CutPrefix(ref, systemdPrefix); ok {
		text, err = d.readCredential(name)
	} else {
		return "", errNoReference
	}
	if err != nil {
		return "", err
	}
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return "", &unreadable{fmt.Sprintf("%s is empty", ref)}
	}
	return text, nil
}

func (d *decoder) readEnv(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "= \x00") {
		return "", errors.New("want env: and the name of an environment variable")
	}
	text, ok := d.opts.Getenv(name)
	if !ok {
		return "", &unreadable{fmt.Sprintf("the environment variable %s is not set", name)}
	}
	return text, nil
}

// readCredential reads a credential that systemd gave to the service (LoadCredential=, systemd.exec(5)).
func (d *decoder) readCredential(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
		return "", errors.New("want systemd: and the name of a credential")
	}
	dir, ok := d.opts.Getenv(credentialsDir)
	if !ok || dir == "" {
		return "", &unreadable{fmt.Sprintf("systemd gave no credentials to this process: add LoadCredential=%s:/path to its unit", name)}
	}
	return d.readFile(filepath.Join(dir, name))
}

func (d *decoder) readFile(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", errors.New("want file: and a path")
	}
	name = d.path(name)
	b, err := d.opts.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &unreadable{fmt.Sprintf("there is no file %s", name)}
	case errors.Is(err, fs.ErrPermission):
		return "", &unreadable{fmt.Sprintf("this user may not read the file %s", name)}
	case err != nil:
		return "", &unreadable{fmt.Sprintf("the file %s cannot be read: %v", name, err)}
	case len(b) > referencedMax:
		return "", &unreadable{fmt.Sprintf("the file %s has more than %d octets", name, referencedMax)}
	}
	return string(b), nil
}

// path returns a path of the configuration seen from the working directory.
func (d *decoder) path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(d.file), name)
}
