package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mimigate/core/mls"
)

// benchSchema stands for the tables of T1 (design §5) that are their consumers' to define.
const benchSchema = `
CREATE TABLE bench_seen (conversation TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (conversation, id));
CREATE TABLE bench_person (id TEXT NOT NULL PRIMARY KEY, seen BIGINT NOT NULL);
CREATE TABLE bench_message (hash BYTEA NOT NULL PRIMARY KEY, body BYTEA NOT NULL);
CREATE TABLE bench_native (conversation TEXT NOT NULL, id TEXT NOT NULL, message BYTEA NOT NULL, PRIMARY KEY (conversation, id));
CREATE TABLE bench_submit (room TEXT NOT NULL, seq BIGINT NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (room, seq));`

// t1 writes what T1 writes: dedupe key, person, sealed content with its message id, native id, leaf generation, submit row.
func t1(ctx context.Context, s *Store, n int64) error {
	conversation, native := fmt.Sprint("room", n%10), fmt.Sprint("$event", n)
	body := make([]byte, 300)
	binary.BigEndian.PutUint64(body, uint64(n))
	id := sha256.Sum256(body)
	return s.Do(ctx, func(ctx context.Context) error {
		for _, st := range []struct {
			query string
			args  []any
		}{
			{`INSERT INTO bench_seen VALUES ($1, $2) ON CONFLICT DO NOTHING`, []any{conversation, native}},
			{`INSERT INTO bench_person VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen`, []any{fmt.Sprint("@p", n%20), n}},
			{`INSERT INTO bench_message VALUES ($1, $2)`, []any{id[:], s.seal(place("bench_message", id[:]), body)}},
			{`INSERT INTO bench_native VALUES ($1, $2, $3)`, []any{conversation, native, id[:]}},
			{`INSERT INTO bench_submit VALUES ($1, $2, $3)`, []any{conversation, n, body}},
		} {
			if _, err := s.exec(ctx, st.query, st.args...); err != nil {
				return err
			}
		}
		return s.ApplyDelta(ctx, []byte(conversation), []mls.Record{{Key: fmt.Appendf(nil, "leaf/%d", n%20), Value: body[:64]}})
	})
}

// BenchmarkT1 prints how many units like T1 are on disk per second, how many share a commit, and the CPU time of one in this process
// (that of a PostgreSQL server is not in it).
func BenchmarkT1(b *testing.B) {
	for _, kind := range []struct {
		name  string
		fresh func(testing.TB) Options
	}{{"sqlite", options}, {"postgres", postgres}} {
		b.Run(kind.name, func(b *testing.B) {
			if kind.name == "postgres" {
				kind.fresh(b) // starts the server
				server.Durable(b, true)
			}
			for _, callers := range []int{1, 64} {
				b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchT1(b, kind.fresh(b), callers) })
			}
		})
	}
}

func benchT1(b *testing.B, o Options, callers int) {
	var commits atomic.Int64
	o.Batch = func(int, time.Duration) { commits.Add(1) }
	s := open(b, o)
	if _, err := s.exec(b.Context(), benchSchema); err != nil {
		b.Fatal(err)
	}
	var next, failed atomic.Int64
	commits.Store(0)
	before := cpu(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if t1(b.Context(), s, n) != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
	b.ReportMetric(float64(b.N)/float64(max(commits.Load(), 1)), "units/commit")
	b.ReportMetric((cpu(b)-before)/float64(b.N)*1e6, "cpu-µs/unit")
	if failed.Load() != 0 {
		b.Fatalf("%d units failed", failed.Load())
	}
}

// cpu returns the CPU time of this process in seconds.
func cpu(b *testing.B) float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Sec+r.Stime.Sec) + float64(r.Utime.Usec+r.Stime.Usec)/1e6
}
