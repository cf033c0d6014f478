package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mimigate/cmd/mimigate/demo"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mimigate": main})
}

// proxy is a command of sessions: it sets HTTP_PROXY to a proxy that reaches nothing and writes whom it was asked for to a file.
func proxy(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(path, []byte(r.Host+"\n"), 0o600); err != nil {
			ts.Logf("proxy: %v", err)
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	ts.Defer(server.Close)
	ts.Setenv("HTTP_PROXY", server.URL)
}

// TestScripts runs the command as people do; each file in testdata is one session.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Cmds: map[string]func(*testscript.TestScript, bool, []string){"proxy": proxy}, Setup: func(e *testscript.Env) error {
		repository, err := filepath.Abs("../..")
		if err != nil {
			return err
		}
		e.Setenv("REPO", repository)
		for _, name := range []string{"PORT1", "PORT2"} { // of loopback, where nobody listens
			address, err := demo.FreeAddress()
			if err != nil {
				return err
			}
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return err
			}
			e.Setenv(name, port)
		}
		return nil
	}})
}
