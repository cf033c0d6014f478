package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mimigate/core/adapter/adaptertest/servers"
)

// TestPostgresScripts runs the sessions that need a PostgreSQL server; $STORE is the URL of a new schema.
func TestPostgresScripts(t *testing.T) {
	var server servers.Postgres
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	url := server.Schema(t)
	t.Run("all", func(t *testing.T) {
		testscript.Run(t, testscript.Params{Dir: "testdata/postgres", Setup: func(e *testscript.Env) error {
			e.Setenv("STORE", url)
			return nil
		}})
	})
}
