// Package servers starts real servers and foreign clients for tests: Synapse, Prosody, PostgreSQL, matrix-nio, slixmpp, and any other
// command as a process that a test can stop, kill, freeze and restart. They run on loopback with data in a temporary
// directory, end with the test, and end with the test binary even when that is killed.
//
// What is needed is installed by `make setup` under .cache in the repository's root (Prosody and PostgreSQL by apt). Where it is missing
// the test is skipped with a word on what is missing; where MIMIGATE_TEST_REQUIRE names the tool, or is "all", it fails.
// With -short everything here skips. Only tests import this package.
package servers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The names of tools, as MIMIGATE_TEST_REQUIRE and the set-up use them.
const (
	toolSynapse = "synapse"
	toolProsody = "prosody"
	toolClients = "clients"
)

// patience is how long a server or client may take to start, stop, or answer before the test fails.
const patience = 60 * time.Second

// root is the repository's root: the nearest directory above the working directory whose go.mod is the product's.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module mimigate\n") {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("no go.mod of mimigate above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// need returns what find finds. Where it finds nothing the test is skipped, or fails if the tool is required.
func need(t testing.TB, tool string, find func() (string, error)) string {
	t.Helper()
	if testing.Short() {
		t.Skip("servers: no real server or foreign client with -short")
	}
	path, err := find()
	if err == nil {
		return path
	}
	require := strings.Fields(os.Getenv("MIMIGATE_TEST_REQUIRE"))
	if slices.Contains(require, tool) || slices.Contains(require, "all") {
		t.Fatalf("servers: %s is required and missing (make setup installs it): %v", tool, err)
	}
	t.Skipf("servers: %s is missing (make setup installs it): %v", tool, err)
	return ""
}

// python finds the interpreter of the virtual environment that the set-up has completed.
func python() (string, error) {
	top, err := root()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(top, ".cache", "stamps", "python")); err != nil {
		return "", err
	}
	return filepath.Join(top, ".cache", "python", "bin", "python"), nil
}

// prosody finds Prosody's program.
func prosody() (string, error) { return exec.LookPath("prosody") }

// Port returns a TCP port that is free on 127.0.0.1 now. It lies below the range that outgoing connections are given, so
// that it is still free when a stopped server wants it back.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatalf("servers: %v", err)
		}
		return port
	}
	t.Fatal("servers: no free port")
	return 0
}

// address is a port on loopback.
func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Dial is a Command's Ready: something listens on the address.
func Dial(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// Get is a Command's Ready: the URL answers 200.
func Get(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, resp.Status)
		}
		return nil
	}
}

// Poll calls f every 20 ms until it returns nil, and returns its last error once ctx has ended.
func Poll(ctx context.Context, f func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
