package interop

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// Figures are CPU times per operation and sizes of one implementation in a group of Members members, each with a state of its own.
type Figures struct {
	Members       int
	AddAll        time.Duration // one commit that adds all others to a new group, with its Welcome, from key packages as bytes
	Join          time.Duration // one member's join by that Welcome
	Commit        time.Duration // a path-only commit right after, when all leaves are unmerged
	ProcessCommit time.Duration // that commit, for one member
	WarmCommit    time.Duration // the same member's next path-only commit
	Send          time.Duration // one application message of 300 bytes
	Receive       time.Duration // one such message, for one member
	CommitBytes   int           // size of Commit
	WelcomeBytes  int           // size of the Welcome of AddAll
	StateBytes    uint64        // heap that one member's state keeps, right after joining
}

// Sizes of the samples Measure takes.
const (
	sampleJoins    = 3
	sampleMessages = 200
	sampleBytes    = 300
)

// CPU returns the processor time the process has used, user and system, all threads: so the garbage an operation makes is counted too.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // impossible: the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// used returns the CPU time of work, after a collection so that earlier garbage is not charged to it.
func used(work func() error) (time.Duration, error) {
	runtime.GC()
	start := CPU()
	err := work()
	return CPU() - start, err
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Measure times an implementation that runs in this process. extensions go into the GroupContext, which every signature covers.
func Measure(ctx context.Context, implementation Implementation, suite Suite, members int, extensions ...Extension) (Figures, error) {
	f := Figures{Members: members}
	m := &measurement{suite: suite, implementation: implementation, Figures: &f}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return m.create(ctx, extensions) },
		m.addAll, m.join, m.commit, m.speak,
	} {
		if err := step(ctx); err != nil {
			return f, fmt.Errorf("measure %s: %w", implementation.Name(), err)
		}
	}
	return f, nil
}

type measurement struct {
	*Figures
	suite          Suite
	implementation Implementation
	creator        Group
	clients        []Client
	welcome        []byte
	joined         []Group
}

func (m *measurement) create(ctx context.Context, extensions []Extension) error {
	creator, err := m.implementation.NewClient(ctx, m.suite, "creator")
	if err != nil {
		return err
	}
	if m.creator, err = creator.Create(ctx, []byte("measured"), extensions); err != nil {
		return err
	}
	for i := range m.Members - 1 {
		c, err := m.implementation.NewClient(ctx, m.suite, fmt.Sprintf("member %d", i))
		if err != nil {
			return err
		}
		m.clients = append(m.clients, c)
	}
	return nil
}

func (m *measurement) addAll(ctx context.Context) error {
	var c Commit
	for _, client := range m.clients {
		kp, err := client.KeyPackage(ctx)
		if err != nil {
			return err
		}
		c.Proposals = append(c.Proposals, Proposal{Kind: Add, KeyPackage: kp})
	}
	var err error
	m.AddAll, err = used(func() error {
		done, err := m.creator.Commit(ctx, c)
		m.welcome = done.Welcome
		return err
	})
	m.WelcomeBytes = len(m.welcome)
	return err
}

func (m *measurement) join(ctx context.Context) error {
	before := heap()
	spent, err := used(func() error {
		for i := range min(sampleJoins, len(m.clients)) {
			g, err := m.clients[len(m.clients)-1-i].Join(ctx, m.welcome, nil)
			if err != nil {
				return err
			}
			m.joined = append(m.joined, g)
		}
		return nil
	})
	if err != nil {
		return err
	}
	n := len(m.joined)
	m.Join = spent / time.Duration(n)
	if after := heap(); after > before {
		m.StateBytes = (after - before) / uint64(n)
	}
	return nil
}

func (m *measurement) commit(ctx context.Context) error {
	var first Committed
	var err error
	if m.Commit, err = used(func() (err error) { first, err = m.creator.Commit(ctx, Commit{}); return }); err != nil {
		return err
	}
	m.CommitBytes = len(first.Commit)
	spent, err := m.everyJoined(func(g Group) error { _, err := g.Process(ctx, first.Commit); return err })
	if err != nil {
		return err
	}
	m.ProcessCommit = spent
	var second Committed
	if m.WarmCommit, err = used(func() (err error) { second, err = m.creator.Commit(ctx, Commit{}); return }); err != nil {
		return err
	}
	_, err = m.everyJoined(func(g Group) error { _, err := g.Process(ctx, second.Commit); return err })
	return err
}

// everyJoined does work with each joined member and returns the mean.
func (m *measurement) everyJoined(work func(Group) error) (time.Duration, error) {
	spent, err := used(func() error {
		for _, g := range m.joined {
			if err := work(g); err != nil {
				return err
			}
		}
		return nil
	})
	return spent / time.Duration(len(m.joined)), err
}

func (m *measurement) speak(ctx context.Context) error {
	plaintext := bytes.Repeat([]byte{'x'}, sampleBytes)
	sent := make([][]byte, sampleMessages)
	spent, err := used(func() (err error) {
		for i := range sent {
			if sent[i], err = m.creator.Protect(ctx, plaintext, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.Send = spent / sampleMessages
	spent, err = used(func() error {
		for _, message := range sent {
			got, err := m.joined[0].Process(ctx, message)
			if err != nil {
				return err
			}
			if !bytes.Equal(got.Plaintext, plaintext) {
				return fmt.Errorf("a message of %d bytes was opened as %d", len(plaintext), len(got.Plaintext))
			}
		}
		return nil
	})
	m.Receive = spent / sampleMessages
	return err
}
