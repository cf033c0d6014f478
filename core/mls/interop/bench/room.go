package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math/bits"
	"runtime"
	"time"

	"mimigate/core/mls"
	"mimigate/core/mls/interop"
)

// room is a group as a gateway holds it: one shared state with many local leaves, and one foreign member with a
// state of its own.
type room struct {
	cfg      *mls.Config
	suite    mls.CipherSuite
	gateway  *mls.Group
	foreign  *mls.Group
	outsider mls.LeafIndex
	xs       mls.Extensions
	queue    []*mls.Message // from the foreign member, not opened yet
}

// depth is the number of levels above the leaves of a tree of n leaves.
func depth(n int) int { return bits.Len(uint(n - 1)) }

func (r *room) members(n int, prefix string) []*mls.JoinSecrets {
	out := make([]*mls.JoinSecrets, n)
	for i := range out {
		key, err := r.cfg.Suites.NewSignatureKey(r.suite, rand.Reader)
		must(err)
		caps := mls.DefaultCapabilities(r.suite)
		out[i], err = mls.NewKeyPackage(r.cfg, r.suite, mls.LeafTemplate{Signature: key, Capabilities: caps,
			Credential: mls.BasicCredential(fmt.Appendf(nil, "mimi://gateway.example/u/%s-%08d", prefix, i))})
		must(err)
	}
	return out
}

// newRoom makes a group of n members: all but one local, the last one foreign. full commits from every second
// leaf, so that no node is blank and no leaf unmerged.
func newRoom(suite mls.CipherSuite, n int, xs mls.Extensions, full bool) *room {
	r := &room{cfg: &mls.Config{Suites: mls.DefaultSuites()}, suite: suite, xs: xs}
	creator := r.members(1, "gateway")[0]
	var err error
	r.gateway, err = mls.NewGroup(r.cfg, []byte("mimi://gateway.example/g/room"), xs, creator)
	must(err)
	if n > 2 {
		r.commit(0, mls.CommitOptions{Own: r.members(n-2, "person"), OmitOwnWelcome: true, OmitPath: true})
	}
	foreign := r.members(1, "foreign")
	step := r.commit(0, mls.CommitOptions{Proposals: []mls.Proposal{{Type: mls.ProposalAdd, Add: &foreign[0].KeyPackage}}, OmitPath: true})
	r.outsider = step.Commit.Added[0].Index
	if full {
		for stride := n; stride >= 2; stride /= 2 { // from the top down: each commit halves what is unmerged
			for i := 0; i < n-1; i += stride {
				r.commit(mls.LeafIndex(i), mls.CommitOptions{})
			}
		}
	}
	r.foreign = r.enter(foreign[0])
	r.foreignCommit()
	return r
}

// enter gives the foreign member a state at the gateway's epoch: its keys are new, so it replaces its own leaf.
func (r *room) enter(j *mls.JoinSecrets) *mls.Group {
	info, err := r.gateway.GroupInfo(0, true)
	must(err)
	old := r.outsider
	g, step, err := mls.ExternalCommit(r.cfg, info, mls.LeafTemplate{Signature: j.Signature, Credential: j.KeyPackage.LeafNode.Credential,
		Capabilities: j.KeyPackage.LeafNode.Capabilities}, mls.ExternalOptions{Remove: &old})
	must(err)
	r.process(step.Message)
	return g
}

func (r *room) commit(leaf mls.LeafIndex, o mls.CommitOptions) *mls.Step {
	step, err := r.gateway.Commit(leaf, o)
	must(err)
	merged, err := r.gateway.Merge(step)
	must(err)
	must(r.gateway.Settle(merged))
	return step
}

// process has the gateway take a commit for all its leaves.
func (r *room) process(data []byte) {
	m, err := mls.ParseMessage(data)
	must(err)
	step, err := r.gateway.Process(m, mls.Arrival{})
	must(err)
	merged, err := r.gateway.Merge(step)
	must(err)
	must(r.gateway.Settle(merged))
}

// foreignCommit has the foreign member commit and returns the commit; the gateway has processed it.
func (r *room) foreignCommit() []byte {
	data := r.foreignStep()
	r.process(data)
	return data
}

func (r *room) foreignStep() []byte {
	step, err := r.foreign.Commit(r.foreign.LocalLeaves()[0], mls.CommitOptions{})
	must(err)
	merged, err := r.foreign.Merge(step)
	must(err)
	must(r.foreign.Settle(merged))
	return step.Message
}

// spent is the CPU time of one of n calls of work.
func spent(n int, work func()) time.Duration {
	runtime.GC()
	start := interop.CPU()
	for range n {
		work()
	}
	return (interop.CPU() - start) / time.Duration(n)
}

// pair is the least CPU time of one call of each, in rounds of n in turn, so that both meet the same noise.
// prepare, if any, runs before each round, outside the time.
func pair(rounds, n int, prepare, ours, floor func()) (o, f time.Duration) {
	o, f = 1<<63-1, 1<<63-1
	for range rounds {
		if prepare != nil {
			prepare()
		}
		o = min(o, spent(n, ours))
		f = min(f, spent(n, floor))
	}
	return o, f
}

// best is the least CPU time of one call of work, in rounds of n.
func best(rounds, n int, work func()) time.Duration {
	least, _ := pair(rounds, n, nil, work, func() {})
	return least
}

func heapOf(build func() any) (uint64, any) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := build()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return after.HeapAlloc - before.HeapAlloc, kept
}

// allocations is the number of allocations of one call of work.
func allocations(n int, work func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		work()
	}
	runtime.ReadMemStats(&after)
	return (after.Mallocs - before.Mallocs) / uint64(n)
}

const messageBytes = 300

var message = bytes.Repeat([]byte{'m'}, messageBytes)

// send protects one message of the gateway and settles it.
func (r *room) send() []byte {
	step, err := r.gateway.Protect(0, message, mls.Framing{})
	must(err)
	must(r.gateway.Settle(step))
	return step.Message
}

// receive opens the next message of the foreign member and settles it.
func (r *room) receive() {
	step, err := r.gateway.Process(r.queue[0], mls.Arrival{})
	must(err)
	must(r.gateway.Settle(step))
	r.queue = r.queue[1:]
}

// write has the foreign member write n messages for receive.
func (r *room) write(n int) {
	for range n {
		step, err := r.foreign.Protect(r.foreign.LocalLeaves()[0], message, mls.Framing{})
		must(err)
		must(r.foreign.Settle(step))
		m, err := mls.ParseMessage(step.Message)
		must(err)
		r.queue = append(r.queue, m)
	}
}

// sizes of what the operations sign and hash, in bytes.
func (r *room) context() int { return len(mls.Marshal(r.gateway.Context())) }

func (r *room) tbs() int { return 4 + len(r.gateway.GroupID()) + 32 + messageBytes + r.context() }
