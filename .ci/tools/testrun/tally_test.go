package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const events = `
{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"pass","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestAway","Output":"=== RUN   TestAway\n"}
{"Action":"output","Package":"a","Test":"TestAway","Output":"    a_test.go:3: no prosody\n"}
{"Action":"output","Package":"a","Test":"TestAway","Output":"--- SKIP: TestAway (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestAway"}
{"Action":"pass","Package":"a","Elapsed":0.1}
{"Action":"output","Package":"b","Test":"TestBad","Output":"    b_test.go:9: got 1, want 2\n"}
{"Action":"fail","Package":"b","Test":"TestBad"}
{"Action":"fail","Package":"b","Elapsed":0.2}
{"ImportPath":"c [c.test]","Action":"build-output","Output":"c.go:1:1: syntax error\n"}
{"Action":"output","Package":"c","Output":"FAIL\tc [build failed]\n"}
{"Action":"fail","Package":"c","Elapsed":0}
{"Action":"output","Package":"d","Test":"TestStuck","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"d","Elapsed":9}
`

func TestTally(t *testing.T) {
	var log, sum strings.Builder
	tally := newTally()
	if failed := tally.read(strings.NewReader(events), &log); failed != 4 {
		t.Errorf("%d failed, want 4: test and package b, packages c and d", failed)
	}
	// The second pass leaves TestGood out, and fails nothing.
	tally.read(strings.NewReader(`{"Action":"skip","Package":"a","Test":"TestGood"}`), &log)
	if tally.report(&sum) {
		t.Error("the report calls it well")
	}
	if !strings.HasSuffix(sum.String(), "\n1 passed, 3 failed, 1 skipped\n") {
		t.Errorf("summary:\n%s", sum.String())
	}
	for _, want := range []string{"FAILED b TestBad b_test.go:9: got 1, want 2", "FAILED c", "FAILED d", "skipped: a_test.go:3: no prosody\n  a TestAway"} {
		if !strings.Contains(sum.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, sum.String())
		}
	}
	for _, want := range []string{"c.go:1:1: syntax error", "got 1, want 2", "panic: test timed out"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

func TestTallyOfNothing(t *testing.T) {
	var sum strings.Builder
	if newTally().report(&sum) {
		t.Error("no test at all, and the report calls it well")
	}
}

func TestTools(t *testing.T) {
	for _, c := range []struct{ require, env, outcome string }{
		{"", "MIMIGATE_TEST_REQUIRE=synapse", ""},
		{"all", "MIMIGATE_TEST_REQUIRE=all", "fail"},
		{"prosody", "MIMIGATE_TEST_REQUIRE=prosody", "fail"},
		{"synapse", "MIMIGATE_TEST_REQUIRE=synapse", ""},
	} {
		r := &run{tally: newTally()}
		tools := r.tools("have synapse\nmiss prosody not root\n", c.require)
		if !tools["synapse"] || tools["prosody"] || r.tally.outcome["setup prosody"] != c.outcome || !slices.Contains(r.env, c.env) {
			t.Errorf("require %q: tools %v, outcome %v", c.require, tools, r.tally.outcome)
		}
	}
}

func TestFuzzTargets(t *testing.T) {
	got := fuzzTargets("FuzzA\nFuzzB\nok  \tm/a\t0.1s\n?   \tm/b\t[no test files]\nok  \tm/c\t0.1s [no tests to run]\nFuzzD\nok  \tm/d\t(cached)\n")
	if want := []target{{"m/a", "FuzzA"}, {"m/a", "FuzzB"}, {"m/d", "FuzzD"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestModules(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"", "a/b", ".ci/tools", ".cache/x", "z/node_modules/y"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, "go.mod"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := modules(root)
	want := []string{root, filepath.Join(root, ".ci/tools"), filepath.Join(root, "a/b")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}
