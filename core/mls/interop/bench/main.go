// Bench prints what the operations of MLS cost in processor time, one table per suite and GroupContext: our engine with
// one shared state for all local leaves, the floor of the cryptography alone, and mls-go with a state for each. make bench-mls runs it.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"mimigate/core/mls"
	"mimigate/core/mls/interop"
)

const (
	participantBytes = 58     // of the GroupContext for each participant of a room, about
	participantList  = 0x0022 // component participant_list (mimi-room-policy-04)
)

func main() {
	members := flag.Int("members", 1000, "members of the measured group; all but one are local leaves")
	large := flag.Bool("large", false, "also groups of 10,000 and 30,000 members, once")
	peers := flag.Bool("peers", true, "also mls-go")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *members, *large, *peers); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, members int, large, peers bool) error {
	for _, suite := range []interop.Suite{interop.X25519AES128, interop.P256AES128} {
		for _, full := range []bool{false, true} {
			var list []interop.Extension
			if full { // mls-go refuses app_data_dictionary, but takes an application_id of the same size
				list = []interop.Extension{{Type: uint16(mls.ExtApplicationID), Data: bytes.Repeat([]byte{'p'}, participantBytes*members)}}
			}
			fmt.Fprintf(out, "\n## %s, %d members, %d bytes of participant list in the GroupContext\n\n", suite.Name, members, size(list))
			var theirs *interop.Figures
			if peers {
				f, err := interop.Measure(ctx, interop.MLSGo{}, suite, members, list...)
				if err != nil {
					return err
				}
				theirs = &f
			}
			if err := table(out, mls.CipherSuite(suite.Code), members, list, theirs); err != nil {
				return err
			}
		}
	}
	if err := growth(out); err != nil {
		return err
	}
	memory(out, large)
	if large {
		return scale(out)
	}
	return nil
}

func size(extensions []interop.Extension) (n int) {
	for _, e := range extensions {
		n += len(e.Data)
	}
	return n
}

// row is one operation: ours, the floor, mls-go for one member and what that makes for every local leaf.
type row struct {
	name        string
	ours, floor time.Duration
	theirs      time.Duration
	times       int // how often a state per leaf has to do it
}

func (r row) print(w io.Writer) {
	theirs, ratio := "-", "-"
	if r.theirs > 0 {
		all := r.theirs * time.Duration(r.times)
		theirs, ratio = short(all).String(), fmt.Sprintf("%.1f", float64(all)/float64(r.ours))
	}
	fmt.Fprintf(w, "%s\t%v\t%v\t%.2f\t%s\t%s\t\n", r.name, short(r.ours), short(r.floor), float64(r.ours)/float64(r.floor), theirs, ratio)
}

// short rounds to three digits or so.
func short(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

// table measures every operation at one size.
func table(out io.Writer, suite mls.CipherSuite, n int, list []interop.Extension, theirs *interop.Figures) error {
	f, err := newFloor(suite == mls.P256AES128)
	if err != nil {
		return err
	}
	if theirs == nil {
		theirs = new(interop.Figures)
	}
	var xs mls.Extensions
	for _, x := range list {
		xs = append(xs, mls.AppDataDictionary{{ID: participantList, Data: x.Data}}.Extension())
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "operation\tours\tfloor\tours/floor\tmls-go, all\tmls-go/ours\t")
	r := newRoom(suite, n, xs, true)
	content := messageBytes + 70
	ours, least := pair(8, 200, nil, func() { r.send() }, f.send(r.tbs(), content))
	row{"send", ours, least, theirs.Send, 1}.print(w)
	receiveRow(f, r, n, theirs).print(w)
	sends, floorSends := allocations(200, func() { r.send() }), allocations(200, f.send(r.tbs(), content))
	r.write(200)
	receives := allocations(200, r.receive)
	counted := fmt.Sprintf("\nallocations: send %d (primitives %d), receive %d (primitives %d)\n", sends, floorSends, receives, allocations(200, f.receive(r.tbs(), content)))
	processRow(f, r, n, theirs).print(w)
	warmRow(f, r, n, theirs).print(w)
	for _, row := range addAndJoin(f, suite, n, xs, theirs) {
		row.print(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(out, counted)
	return nil
}

func receiveRow(f *floor, r *room, n int, theirs *interop.Figures) row {
	ours, least := pair(8, 200, func() { r.write(200) }, r.receive, f.receive(r.tbs(), messageBytes+70))
	return row{fmt.Sprintf("receive, %d local leaves", n-1), ours, least, theirs.Receive, n - 1}
}

func processRow(f *floor, r *room, n int, theirs *interop.Figures) row {
	data := r.foreignCommit()
	ours, least := pair(12, 1, func() { data = r.foreignStep() }, func() { r.process(data) }, f.process(depth(n), r.context(), len(data), 320))
	return row{fmt.Sprintf("process one commit, %d local leaves", n-1), ours, least, theirs.ProcessCommit, n - 1}
}

func warmRow(f *floor, r *room, n int, theirs *interop.Figures) row {
	leaf := mls.LeafIndex(0)
	size := len(r.commit(0, mls.CommitOptions{}).Message)
	ours, least := pair(8, 3, nil, func() {
		leaf = (leaf + 2) % mls.LeafIndex(n-2)
		r.commit(leaf, mls.CommitOptions{})
	}, f.commit(depth(n), depth(n), r.context(), size, 320))
	return row{"commit, warm tree", ours, least, theirs.WarmCommit, 1}
}

// addAndJoin adds n-1 members in one commit and joins by its Welcome, once with one leaf and once with half of them.
func addAndJoin(f *floor, suite mls.CipherSuite, n int, xs mls.Extensions, theirs *interop.Figures) []row {
	r := &room{cfg: &mls.Config{Suites: mls.DefaultSuites()}, suite: suite, xs: xs}
	people := r.members(n-1, "person")
	o := mls.CommitOptions{WelcomeTree: true}
	for _, j := range people {
		o.Proposals = append(o.Proposals, mls.Proposal{Type: mls.ProposalAdd, Add: &j.KeyPackage})
	}
	var step *mls.Step
	add := func() {
		creator, err := mls.NewGroup(r.cfg, []byte("mimi://gateway.example/g/room"), xs, r.members(1, "gateway")[0])
		must(err)
		r.gateway = creator
		step = r.commit(0, o)
	}
	add()
	join := func(own []*mls.JoinSecrets) func() {
		return func() {
			_, err := mls.JoinWelcome(r.cfg, step.Welcome, mls.JoinOptions{Own: own})
			must(err)
		}
	}
	leaf, keyPackage := len(mls.Marshal(&people[0].KeyPackage.LeafNode)), len(mls.Marshal(&people[0].KeyPackage))
	groupInfo := len(step.Welcome.EncryptedGroupInfo)
	ours, least := pair(3, 1, nil, add, f.addAll(n-1, r.context(), len(step.Message), leaf, keyPackage, groupInfo))
	half, one := pair(4, 1, nil, join(people[:n/2]), join(people[:1]))
	return []row{
		{fmt.Sprintf("add %d members in one commit", n-1), ours, least, theirs.AddAll, 1},
		{fmt.Sprintf("join, %d leaves by one Welcome (floor: one leaf's join)", n/2), half, one, theirs.Join, n / 2},
	}
}
