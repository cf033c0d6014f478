// Command testrun is what `make test` runs once the set-up is done: format, vet, staticcheck, every test, the race
// detector, every fuzz target for a moment, and the nested modules. It runs all of it whatever fails, says at the end
// what failed and what was skipped and why, and closes with one line: N passed, N failed, N skipped.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const tags = "goolm" // mautrix/crypto needs it (or a C library)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &run{ctx: ctx, tally: newTally(), fuzzTime: os.Getenv("FUZZTIME")}
	if r.fuzzTime == "" {
		r.fuzzTime = "3s"
	}
	if err := r.all(); err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(1)
	}
	if !r.tally.report(os.Stdout) {
		os.Exit(1)
	}
}

// run is one run of everything.
type run struct {
	ctx      context.Context
	tally    *tally
	fuzzTime string
	env      []string // of every test process
}

// all runs every step. An error means that it could not even begin; what fails in between is in the tally.
func (r *run) all() error {
	setup, err := os.ReadFile(".cache/setup.txt")
	if err != nil {
		return fmt.Errorf("no set-up, run make setup: %w", err)
	}
	modules, err := modules(".")
	if err != nil {
		return err
	}
	tools := r.tools(string(setup), os.Getenv("MIMIGATE_TEST_REQUIRE"))
	r.step("gofmt", r.gofmt)
	for _, dir := range modules {
		r.step("vet "+dir, func() error { return r.plain(dir, "go", "vet", "-tags", tags, "./...") })
		if tools["staticcheck"] {
			bin, err := filepath.Abs(".cache/bin/staticcheck")
			if err != nil {
				return err
			}
			r.step("staticcheck "+dir, func() error { return r.plain(dir, bin, "-tags", tags, "./...") })
		}
		r.step("test "+dir, func() error { return r.test(dir, "-count=1", "-timeout=15m") })
		if !tools["cc"] {
			r.tally.missing("race detector and SQLite in "+dir, "no C compiler")
		} else if dir == "." {
			r.step("race "+dir, func() error { return r.test(dir, "-race", "-short", "-timeout=15m") })
		}
		r.fuzz(dir)
	}
	return nil
}

// tools reads what the set-up has written. What is there is required of the tests; what is missing is named in the
// summary, and failed where require, a list or "all", demands it.
func (r *run) tools(setup, require string) map[string]bool {
	tools := map[string]bool{"cc": true}
	var have []string
	for _, line := range strings.Split(setup, "\n") {
		f := strings.SplitN(line, " ", 3)
		switch {
		case len(f) >= 2 && f[0] == "have":
			tools[f[1]] = true
			have = append(have, f[1])
		case len(f) == 3 && f[0] == "miss":
			tools[f[1]] = false
			if require == "all" || slices.Contains(strings.Fields(require), f[1]) {
				r.tally.result("setup "+f[1], "", "fail", f[2])
			} else {
				r.tally.missing(f[1], f[2])
			}
		}
	}
	if require == "" {
		require = strings.Join(have, " ")
	}
	r.env = append(os.Environ(), "MIMIGATE_TEST_REQUIRE="+require)
	return tools
}

// step runs one step, prints its time, and counts it as one test where it is not itself made of tests.
func (r *run) step(name string, f func() error) {
	if r.ctx.Err() != nil {
		return
	}
	fmt.Printf("== %s\n", name)
	begin := time.Now()
	if err := f(); err != nil {
		fmt.Printf("-- %s FAILED: %v\n", name, err)
		why, _, _ := strings.Cut(err.Error(), "\n")
		r.tally.result(name, "", "fail", why)
	} else {
		r.tally.result(name, "", "pass", "")
	}
	fmt.Printf("-- %s: %.1f s\n", name, time.Since(begin).Seconds())
}

func (r *run) gofmt() error {
	list, err := r.output(".", "git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go")
	if err != nil {
		return err
	}
	files := slices.DeleteFunc(strings.Fields(list), func(name string) bool {
		_, err := os.Stat(name)
		return err != nil
	})
	if len(files) == 0 {
		return errors.New("no Go file")
	}
	bad, err := r.output(".", "gofmt", append([]string{"-l"}, files...)...)
	if err != nil {
		return err
	}
	if bad != "" {
		return fmt.Errorf("not formatted:\n%s", bad)
	}
	return nil
}

// plain runs a command whose output is for the reader.
func (r *run) plain(dir, name string, args ...string) error {
	cmd := r.command(dir, name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	return cmd.Run()
}

func (r *run) output(dir, name string, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := r.command(dir, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, args[0], err, out, stderr.Bytes())
	}
	return string(out), nil
}

// command is a process that ends with this one: interrupted first, killed ten seconds later.
func (r *run) command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(r.ctx, name, args...)
	cmd.Dir, cmd.Env = dir, r.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// test runs the tests of a module through the tally. An error is one that no test accounts for.
func (r *run) test(dir string, args ...string) error {
	cmd := r.command(dir, "go", append(append([]string{"test", "-json", "-tags", tags}, args...), "./...")...)
	cmd.Stderr = os.Stdout
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failed := r.tally.read(out, os.Stdout)
	if err := cmd.Wait(); err != nil && failed == 0 {
		return err
	}
	return nil
}

// fuzz runs every fuzz target of a module for a moment, each a step of its own.
func (r *run) fuzz(dir string) {
	list, err := r.output(dir, "go", "test", "-tags", tags, "-list", "^Fuzz", "./...")
	if err != nil {
		r.step("fuzz "+dir, func() error { return err })
		return
	}
	for _, t := range fuzzTargets(list) {
		r.step("fuzz "+t.pkg+" "+t.name, func() error { return r.fuzzOne(dir, t) })
	}
}

// fuzzOne runs one target. The fuzzer sometimes reports that its own deadline passed in the middle of an input
// (go.dev/issue/48591): such a run says nothing about the target and is made once more.
func (r *run) fuzzOne(dir string, t target) error {
	args := []string{"test", "-tags", tags, "-run", "^$", "-fuzz", "^" + t.name + "$", "-fuzztime", r.fuzzTime, "-fuzzminimizetime", "20x", t.pkg}
	out, err := r.output(dir, "go", args...)
	if err != nil && strings.Contains(err.Error(), "context deadline exceeded") && !strings.Contains(err.Error(), "Failing input") {
		out, err = r.output(dir, "go", args...)
	}
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, l := range slices.Backward(lines) {
		if strings.Contains(l, "execs:") {
			fmt.Println(l)
			break
		}
	}
	return nil
}

// target is one fuzz function.
type target struct{ pkg, name string }

// fuzzTargets reads the output of go test -list: names, then a line that closes their package.
func fuzzTargets(list string) []target {
	var all []target
	var names []string
	for _, line := range strings.Split(list, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 1 && strings.HasPrefix(f[0], "Fuzz"):
			names = append(names, f[0])
		case len(f) >= 2 && f[0] == "ok":
			for _, n := range names {
				all = append(all, target{f[1], n})
			}
			names = nil
		}
	}
	return all
}

// modules lists the directories with a go.mod, the product's first.
func modules(root string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", ".cache", "node_modules", "testdata"}, d.Name()) {
			return filepath.SkipDir
		}
		if d.Name() == "go.mod" {
			list = append(list, filepath.Dir(name))
		}
		return nil
	})
	slices.SortFunc(list, func(a, b string) int {
		if (a == root) != (b == root) {
			if a == root {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return list, err
}
