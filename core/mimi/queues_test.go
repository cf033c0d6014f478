package mimi

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// desk is work that stands somewhere, for queues to do.
type desk struct {
	mu    sync.Mutex
	begun time.Time
	todo  map[string][]error // what each piece ends with
	done  []string
	at    []time.Duration
}

func (d *desk) work(_ context.Context, key string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.todo[key]
	if len(list) == 0 {
		return false, nil
	}
	d.done = append(d.done, key)
	d.at = append(d.at, time.Since(d.begun))
	d.todo[key] = list[1:]
	return true, list[0]
}

func (d *desk) put(key string, outcome error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.todo[key] = append(d.todo[key], outcome)
}

// log returns what was done, and when.
func (d *desk) log() ([]string, []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.done), slices.Clone(d.at)
}

func busy(q *Queues[string]) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.active)
}

func TestQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{begun: time.Now(), todo: map[string][]error{}}
		q := NewQueues(d.work)
		for range 3 {
			d.put("a", nil)
		}
		d.put("b", nil)
		q.Wake("a")
		q.Wake("b")
		synctest.Wait()
		done, _ := d.log()
		if slices.Sort(done); !slices.Equal(done, []string{"a", "a", "a", "b"}) {
			t.Errorf("%v", done)
		}
		if n := busy(q); n != 0 {
			t.Errorf("%d idle queues have a goroutine", n)
		}
		q.Close()
		d.put("a", nil)
		q.Wake("a")
		synctest.Wait()
		if done, _ := d.log(); len(done) != 4 {
			t.Error("works after Close")
		}
	})
}

func TestQueuesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		d := &desk{begun: time.Now(), todo: map[string][]error{}}
		q := NewQueues(d.work)
		defer q.Close()
		for range 3 {
			d.put("a", down)
		}
		d.put("a", RetryAfter(time.Hour, down))
		d.put("a", nil)
		q.Wake("a")
		for range 100 {
			q.Wake("a") // hurries nothing
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		_, at := d.log()
		if len(at) != 5 {
			t.Fatalf("%v", at)
		}
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			if pause := at[i+1] - at[i]; pause < want*3/4 || pause > want*5/4 {
				t.Errorf("pause %d: %v", i, pause)
			}
		}
		if pause := at[4] - at[3]; pause != time.Hour {
			t.Errorf("Retry-After: %v", pause)
		}
		if longest := backoff(1000, down); longest > longestRetry*5/4 || longest < longestRetry*3/4 {
			t.Errorf("longest pause: %v", longest)
		}
	})
}

func TestQueuesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{begun: time.Now(), todo: map[string][]error{}}
		q := NewQueues(d.work)
		defer q.Close()
		d.put("a", nil)
		q.WakeAfter("a", time.Minute)
		d.put("b", nil)
		q.WakeAfter("b", time.Minute)
		q.WakeAfter("b", time.Hour) // the first says when
		synctest.Wait()
		if done, _ := d.log(); len(done) != 0 {
			t.Errorf("too early: %v", done)
		}
		q.Wake("a")
		q.Wake("a")
		synctest.Wait()
		if done, _ := d.log(); !slices.Equal(done, []string{"a"}) {
			t.Errorf("hurried: %v", done)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if done, _ := d.log(); !slices.Equal(done, []string{"a", "b"}) {
			t.Errorf("after a minute: %v", done)
		}
	})
}

// Close ends a pause and what is being worked on.
func TestQueuesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueues(func(ctx context.Context, key string) (bool, error) {
			if key == "fails" {
				return true, errors.New("down")
			}
			<-ctx.Done()
			return true, ctx.Err()
		})
		q.Wake("fails")
		q.Wake("works")
		q.WakeAfter("waits", time.Hour)
		synctest.Wait()
		q.Close()
		if n := busy(q); n != 0 {
			t.Errorf("%d goroutines left", n)
		}
	})
}
