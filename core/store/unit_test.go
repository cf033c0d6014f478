package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/store/work"
)

var errTest = errors.New("test")

func TestUnitCommitsTogether(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		if err := s.Do(ctx, func(unit context.Context) error {
			if err := errors.Join(put(unit, s, "a", "1"), put(unit, s, "b", "2")); err != nil {
				return err
			}
			if got := value(t, unit, s, "a"); got != "1" {
				t.Errorf("the unit reads %q of what it wrote", got)
			}
			if got := value(t, ctx, s, "a"); got != "" {
				t.Errorf("another reads %q before the commit", got)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if a, b := value(t, ctx, s, "a"), value(t, ctx, s, "b"); a != "1" || b != "2" {
			t.Errorf("after the commit: %q, %q", a, b)
		}
		if err := s.Do(ctx, func(unit context.Context) error { return errors.Join(put(unit, s, "a", "3"), errTest) }); !errors.Is(err, errTest) {
			t.Error(err)
		}
		if got := value(t, ctx, s, "a"); got != "1" {
			t.Errorf("a failed unit left %q", got)
		}
	})
}

// A unit within a unit joins it; where it fails, only its own part is undone (rule vii).
func TestNested(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		var hooks []string
		hook := func(unit context.Context, name string) {
			s.OnCommit(unit, func() { hooks = append(hooks, name+" kept") })
			s.OnRollback(unit, func() { hooks = append(hooks, name+" undone") })
		}
		err := s.Do(ctx, func(unit context.Context) error {
			hook(unit, "outer")
			if err := put(unit, s, "outer", "1"); err != nil {
				return err
			}
			if err := s.Do(unit, func(part context.Context) error { hook(part, "good"); return put(part, s, "good", "1") }); err != nil {
				return err
			}
			err := s.Do(unit, func(part context.Context) error {
				hook(part, "bad")
				if err := s.Do(part, func(deep context.Context) error { hook(deep, "deep"); return put(deep, s, "deep", "1") }); err != nil {
					return err
				}
				return errors.Join(put(part, s, "bad", "1"), put(part, s, "outer", "2"), errTest)
			})
			if !errors.Is(err, errTest) {
				return fmt.Errorf("the part: %w", err)
			}
			hooks = append(hooks, "end")
			return put(unit, s, "last", "1")
		})
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"outer": "1", "good": "1", "bad": "", "deep": "", "last": "1"} {
			if got := value(t, ctx, s, key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		if got, want := strings.Join(hooks, ", "), "deep undone, bad undone, end, outer kept, good kept"; got != want {
			t.Errorf("hooks: %s\nwant:  %s", got, want)
		}

		hooks = nil
		err = s.Do(ctx, func(unit context.Context) error {
			hook(unit, "outer")
			if err := s.Do(unit, func(part context.Context) error { hook(part, "part"); return put(part, s, "good", "2") }); err != nil {
				return err
			}
			return errTest
		})
		if got := strings.Join(hooks, ", "); !errors.Is(err, errTest) || got != "part undone, outer undone" || value(t, ctx, s, "good") != "1" {
			t.Errorf("the whole fails: %v; hooks: %s; value %q", err, got, value(t, ctx, s, "good"))
		}
		hooks = nil
		hook(ctx, "none")
		if got := strings.Join(hooks, ", "); got != "none kept" {
			t.Errorf("without a unit: %s", got)
		}
	})
}

// An error of a statement fails the part it is in, even where it is dropped: on PostgreSQL it could not be otherwise.
func TestDroppedError(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		bad := func(unit context.Context) {
			if _, err := s.exec(unit, `INSERT INTO nothing VALUES (1)`); err == nil {
				t.Error("no error")
			}
		}
		err := s.Do(ctx, func(unit context.Context) error {
			if err := put(unit, s, "a", "1"); err != nil {
				return err
			}
			bad(unit)
			if err := put(unit, s, "b", "1"); err == nil {
				t.Error("a statement ran after a failed one")
			}
			return nil
		})
		if err == nil || value(t, ctx, s, "a") != "" {
			t.Errorf("%v, %q", err, value(t, ctx, s, "a"))
		}
		err = s.Do(ctx, func(unit context.Context) error {
			if err := s.Do(unit, func(part context.Context) error { bad(part); return nil }); err == nil {
				t.Error("the part was kept")
			}
			return put(unit, s, "a", "2")
		})
		if err != nil || value(t, ctx, s, "a") != "2" {
			t.Errorf("%v, %q", err, value(t, ctx, s, "a"))
		}
	})
}

func TestMisuse(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		if err := put(ctx, s, "a", "1"); err != nil {
			t.Fatal(err)
		}
		var after context.Context
		err := s.Do(ctx, func(unit context.Context) error {
			after = unit
			return s.query(unit, func(scan func(...any) error) error {
				_, err := s.exec(unit, `DELETE FROM account_state`)
				if !errors.Is(err, work.ErrReading) {
					t.Errorf("a statement among rows: %v", err)
				}
				return nil
			}, `SELECT key FROM account_state`)
		})
		if !errors.Is(err, work.ErrReading) || value(t, ctx, s, "a") != "1" {
			t.Error(err)
		}
		for _, err := range []error{put(after, s, "a", "2"), s.Do(after, func(context.Context) error { return nil })} {
			if !errors.Is(err, work.ErrOver) {
				t.Errorf("after the unit: %v", err)
			}
		}
		if _, err := s.State("a").Get(after, "a"); !errors.Is(err, work.ErrOver) {
			t.Errorf("a read after the unit: %v", err)
		}
		if err := put(ctx, s, "a", "3"); err != nil {
			t.Error(err)
		}
	})
}

// A unit that panics, or ends its goroutine, is undone, and the writer goes on.
func TestPanics(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		undone := 0
		try := func(end func()) {
			var wg sync.WaitGroup
			wg.Go(func() {
				defer func() { _ = recover() }()
				_ = s.Do(ctx, func(unit context.Context) error {
					s.OnRollback(unit, func() { undone++ })
					if err := put(unit, s, "a", "1"); err != nil {
						t.Error(err)
					}
					return s.Do(unit, func(context.Context) error { end(); return nil })
				})
			})
			wg.Wait()
		}
		try(func() { panic("test") })
		try(runtime.Goexit)
		if err := put(ctx, s, "b", "1"); err != nil || value(t, ctx, s, "a") != "" || value(t, ctx, s, "b") != "1" || undone != 2 {
			t.Errorf("%v, %q, %q, %d", err, value(t, ctx, s, "a"), value(t, ctx, s, "b"), undone)
		}
	})
}

// A context that ends during a unit stops the unit, and harms no other in the same transaction.
func TestContextEnds(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		results := together(t, s, 3, func(i int, s *Store, ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return s.Do(ctx, func(unit context.Context) error {
				if err := put(unit, s, fmt.Sprint(i), "1"); err != nil {
					return err
				}
				if i == 1 {
					cancel()
				}
				return put(unit, s, fmt.Sprint(i), "2")
			})
		})
		for i, err := range results {
			want, wantErr := "2", error(nil)
			if i == 1 {
				want, wantErr = "", context.Canceled
			}
			if got := value(t, t.Context(), s, fmt.Sprint(i)); got != want || !errors.Is(err, wantErr) {
				t.Errorf("unit %d: %q, %v", i, got, err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := put(ended, s, "x", "1"); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context: %v", err)
		}
		// While waiting for a turn.
		hold, held := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Do(t.Context(), func(context.Context) error { close(held); <-hold; return nil }); err != nil {
				t.Error(err)
			}
		})
		<-held
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := put(short, s, "x", "1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a deadline while waiting: %v", err)
		}
		close(hold)
		wg.Wait()
		if got := value(t, t.Context(), s, "x"); got != "" {
			t.Errorf("x is %q", got)
		}
	})
}

// together runs n units that are all in one transaction: they wait while another has its turn.
func together(t *testing.T, s *Store, n int, do func(i int, s *Store, ctx context.Context) error) []error {
	t.Helper()
	results := make([]error, n)
	var wg sync.WaitGroup
	hold, held := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		if err := s.Do(t.Context(), func(context.Context) error { close(held); <-hold; return nil }); err != nil {
			t.Logf("the first: %v", err)
		}
	})
	<-held
	for i := range n {
		before := waiting()
		wg.Go(func() { results[i] = do(i, s, t.Context()) })
		for deadline := time.Now().Add(10 * time.Second); waiting() == before; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("the unit does not wait for its turn")
			}
		}
	}
	close(hold)
	wg.Wait()
	return results
}

// waiting counts the goroutines that wait in Do for a turn.
func waiting() int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		head, _, _ := strings.Cut(g, "\n")
		if strings.Contains(head, "[select") && strings.Contains(g, "work.(*Work).Do(") {
			n++
		}
	}
	return n
}

// Of the units that share a transaction each fails alone; those after it see nothing of it, in the store or in memory.
func TestBatch(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		var memory []int // as a consumer's staged steps: what the disk will hold
		results := together(t, s, 5, func(i int, s *Store, ctx context.Context) error {
			return s.Do(ctx, func(unit context.Context) error {
				memory = append(memory, i)
				s.OnRollback(unit, func() { memory = memory[:len(memory)-1] })
				if err := put(unit, s, "sum", value(t, unit, s, "sum")+fmt.Sprint(i)); err != nil {
					return err
				}
				if i%2 == 1 {
					return errTest
				}
				return nil
			})
		})
		for i, err := range results {
			if (err != nil) != (i%2 == 1) {
				t.Errorf("unit %d: %v", i, err)
			}
		}
		if got := value(t, t.Context(), s, "sum"); got != "024" || !slices.Equal(memory, []int{0, 2, 4}) {
			t.Errorf("%s, memory %v", got, memory)
		}
	})
}

// A transaction that is lost as a whole fails all of its units, and rolls memory back from the end; the next works.
func TestLostTransaction(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		var undone []int
		results := together(t, s, 4, func(i int, s *Store, ctx context.Context) error {
			return s.Do(ctx, func(unit context.Context) error {
				s.OnRollback(unit, func() { undone = append(undone, i) })
				if err := put(unit, s, fmt.Sprint(i), "1"); err != nil {
					return err
				}
				if i != 2 {
					return nil
				}
				_ = s.Do(unit, func(part context.Context) error { // as SQLite does by itself after some errors
					_, err := s.db.Exec("ROLLBACK")
					return errors.Join(errTest, err)
				})
				if err := s.Do(unit, func(context.Context) error { return nil }); err == nil {
					t.Error("a part of a lost transaction")
				}
				if err := put(unit, s, "outside", "1"); err == nil {
					t.Error("a statement outside a lost transaction")
				}
				return nil
			})
		})
		for i, err := range results {
			want := "1"
			if i < 3 {
				want = ""
			}
			if got := value(t, t.Context(), s, fmt.Sprint(i)); got != want || (err == nil) != (want != "") {
				t.Errorf("unit %d: %q, %v", i, got, err)
			}
		}
		if !slices.Equal(undone, []int{2, 1, 0}) || value(t, t.Context(), s, "outside") != "" {
			t.Errorf("undone in the order %v", undone)
		}
	})
}

func TestClose(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		var wg sync.WaitGroup
		began, hold := make(chan struct{}), make(chan struct{})
		wg.Go(func() {
			if err := s.Do(t.Context(), func(unit context.Context) error { close(began); <-hold; return put(unit, s, "began", "1") }); err != nil {
				t.Error(err)
			}
		})
		<-began
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		<-s.work.Closing()
		if err := put(t.Context(), s, "late", "1"); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close has begun: %v", err)
		}
		close(hold)
		wg.Wait()
		if _, err := s.State("a").Get(t.Context(), "began"); !errors.Is(err, ErrClosed) {
			t.Errorf("a read after Close: %v", err)
		}
		s = open(t, o)
		if a, b := value(t, t.Context(), s, "began"), value(t, t.Context(), s, "late"); a != "1" || b != "" {
			t.Errorf("%q, %q", a, b)
		}
	})
}

// Many callers at once: every unit is kept or not as its caller was told, and readers never see half of one.
func TestConcurrent(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		const callers, rounds = 16, 20
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				kept := 0
				for r := range rounds {
					err := s.Do(ctx, func(unit context.Context) error {
						n := fmt.Sprint(kept + 1)
						if err := errors.Join(put(unit, s, fmt.Sprintf("a%d", c), n), put(unit, s, fmt.Sprintf("b%d", c), n)); err != nil {
							return err
						}
						if (c+r)%5 == 0 {
							return errTest
						}
						return nil
					})
					if err == nil {
						kept++
					} else if !errors.Is(err, errTest) {
						t.Error(err)
					}
					var a, b []byte
					found, err := s.get(ctx, []any{&a, &b}, `SELECT x.value, y.value FROM account_state x, account_state y WHERE x.key = $1 AND y.key = $2`,
						fmt.Appendf(nil, "a%d", c), fmt.Appendf(nil, "b%d", c))
					if err != nil || found != (kept > 0) {
						t.Errorf("caller %d: %v, %v after %d", c, found, err, kept)
					}
				}
				if a, b := value(t, ctx, s, fmt.Sprintf("a%d", c)), value(t, ctx, s, fmt.Sprintf("b%d", c)); a != fmt.Sprint(kept) || b != a {
					t.Errorf("caller %d: %s and %s after %d kept units", c, a, b, kept)
				}
			})
		}
		wg.Wait()
	})
}
