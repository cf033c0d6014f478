package gateway_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mimigate/core/adapter/adaptertest/servers"
)

// postgresEnv makes the stores of all configurations that load writes schemas of a PostgreSQL server.
const postgresEnv = "MIMIGATE_TEST_POSTGRES"

// postgres is that server, and the schema of each store by its directory, which it keeps when it is opened again.
var postgres struct {
	servers.Postgres
	schemas map[string]string
}

var storeKey = regexp.MustCompile(`store: (\w+)`)

// stores is a configuration with its stores where the environment says.
func stores(t *testing.T, dir, text string) string {
	t.Helper()
	if os.Getenv(postgresEnv) == "" {
		return text
	}
	return storeKey.ReplaceAllStringFunc(text, func(key string) string {
		name := storeKey.FindStringSubmatch(key)[1]
		path := filepath.Join(dir, name)
		if postgres.schemas == nil {
			postgres.schemas = map[string]string{}
		}
		if postgres.schemas[path] == "" {
			postgres.schemas[path] = postgres.Schema(t)
		}
		return `store: "` + postgres.schemas[path] + `", files: ` + name
	})
}

// TestOnPostgreSQL runs the tests that need no other server again, with their stores on PostgreSQL.
func TestOnPostgreSQL(t *testing.T) {
	if os.Getenv(postgresEnv) != "" {
		t.Skip("this is that run")
	}
	if testing.Short() {
		t.Skip("no server with -short")
	}
	suite := []string{"TestMistakes", "TestPasswordMended", "TestTwoGateways", "TestProviders", "TestConversation", "TestSecondInstance", "TestRestore",
		"TestAdminsTold", "TestLetters", "TestReload", "TestReloadRemoves", "TestReloadWrong", "TestMadeRooms"}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^("+strings.Join(suite, "|")+")$")
	cmd.Env = append(os.Environ(), postgresEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "servers: postgresql is missing") {
		t.Skip("no PostgreSQL here")
	}
	for _, name := range suite {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") {
			t.Errorf("%s did not run", name)
		}
	}
}
