package main

import (
	"net"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mimigate/cmd/mimigate/demo"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mimigate": main})
}

// TestScripts runs the command as people do; each file in testdata is one session.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
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
