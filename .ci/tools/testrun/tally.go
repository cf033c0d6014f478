package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// tally counts tests by package and name. A test that runs several times (plain, race) counts once: failed where it
// failed once, else passed where it passed once, so that what -short left out of one pass is not called skipped.
type tally struct {
	outcome map[string]string // "package name" → pass, fail, skip
	why     map[string]string // of a skipped or failed test: its last words
	gone    []string          // what could not be run at all, and why
}

func newTally() *tally { return &tally{outcome: map[string]string{}, why: map[string]string{}} }

// event is one line of go test -json (see go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// read takes the events of one go test, writes a line for each package and the output of all that failed, and returns
// how many tests and packages failed. Lines that are no event are passed on.
func (t *tally) read(r io.Reader, w io.Writer) (failed int) {
	output := map[string][]string{} // of each running test, and by import path of each build
	tests := map[string]int{}       // how many ran, by package
	broken := map[string]bool{}     // packages with a test that failed
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(w, lines.Text())
			continue
		}
		key := strings.TrimSpace(e.Package + " " + e.Test)
		switch e.Action {
		case "output":
			output[key] = append(output[key], e.Output)
		case "build-output":
			fmt.Fprint(w, e.Output)
		case "pass", "fail", "skip":
			said := output[key]
			delete(output, key)
			if e.Test != "" {
				tests[e.Package]++
				broken[e.Package] = broken[e.Package] || e.Action == "fail"
				t.result(e.Package, e.Test, e.Action, lastWords(said))
			} else if e.Action == "fail" && !broken[e.Package] {
				t.result(e.Package, "", "fail", lastWords(said)) // does not build, or died outside its tests
			}
			if e.Action == "fail" {
				failed++
				for _, s := range said {
					fmt.Fprint(w, s)
				}
			}
			if e.Test == "" && (tests[e.Package] > 0 || e.Action == "fail") {
				fmt.Fprintf(w, "%-4s %s %d tests, %.1f s\n", e.Action, e.Package, tests[e.Package], e.Elapsed)
			}
		}
	}
	// What began and never ended (a panic, a deadline): its package's failure is counted above, this is what it said.
	for _, key := range slices.Sorted(maps.Keys(output)) {
		if strings.Contains(key, " ") {
			fmt.Fprintf(w, "unfinished: %s\n%s", key, strings.Join(output[key], ""))
		}
	}
	return failed
}

// lastWords finds the reason in what a test has printed: its last line that is not the runner's own.
func lastWords(said []string) string {
	for _, s := range slices.Backward(said) {
		s = strings.TrimSpace(s)
		if s != "" && !strings.HasPrefix(s, "---") && !strings.HasPrefix(s, "===") {
			return s
		}
	}
	return ""
}

// result counts one test of a package, or the package or step itself where test is "".
func (t *tally) result(pkg, test, action, why string) {
	key := strings.TrimSpace(pkg + " " + test)
	rank := map[string]int{"": 0, "skip": 1, "pass": 2, "fail": 3}
	if rank[action] > rank[t.outcome[key]] {
		t.outcome[key], t.why[key] = action, why
	}
}

// missing notes what is not there to run at all.
func (t *tally) missing(what, why string) {
	t.gone = append(t.gone, fmt.Sprintf("%s: %s", what, why))
}

// report prints the summary and says whether all is well. No test at all is not well.
func (t *tally) report(w io.Writer) bool {
	count := map[string]int{}
	skipped := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(t.outcome)) {
		count[t.outcome[key]]++
		switch t.outcome[key] {
		case "fail":
			fmt.Fprintf(w, "FAILED %s %s\n", key, t.why[key])
		case "skip":
			skipped[t.why[key]] = append(skipped[t.why[key]], key)
		}
	}
	for _, g := range t.gone {
		fmt.Fprintf(w, "not installed: %s\n", g)
	}
	for _, why := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Fprintf(w, "skipped: %s\n  %s\n", why, strings.Join(skipped[why], "\n  "))
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", count["pass"], count["fail"], count["skip"])
	return count["fail"] == 0 && count["pass"] > 0
}
