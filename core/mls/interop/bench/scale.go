package main

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"text/tabwriter"
	"time"

	"mimigate/core/mls"
	"mimigate/core/mls/interop"
)

// growth shows that processing grows with log n, and opening a message not with the number of local leaves.
func growth(out io.Writer) error {
	fmt.Fprintf(out, "\n## Growth, suite 1, full tree, empty GroupContext\n\n")
	f, err := newFloor(false)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "members\tprocess one commit\tfloor\tours/floor\treceive\tfloor\tours/floor\t")
	for _, n := range []int{128, 1024, 8192} {
		r := newRoom(mls.X25519AES128, n, nil, true)
		p := processRow(f, r, n, new(interop.Figures))
		q := receiveRow(f, r, n, new(interop.Figures))
		fmt.Fprintf(w, "%d\t%v\t%v\t%.2f\t%v\t%v\t%.2f\t\n", n, short(p.ours), short(p.floor), float64(p.ours)/float64(p.floor),
			short(q.ours), short(q.floor), float64(q.ours)/float64(q.floor))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nreceive one message of a group of 1,000 with K local leaves: ")
	for _, k := range []int{1, 100, 500} {
		fmt.Fprintf(out, "K=%d %v  ", k, short(receiveWith(k)))
	}
	fmt.Fprintln(out)
	return nil
}

// receiveWith measures opening a message in a group of 1,000 of which k leaves are local.
func receiveWith(k int) time.Duration {
	r := &room{cfg: &mls.Config{Suites: mls.DefaultSuites()}, suite: mls.X25519AES128}
	people := r.members(999, "person")
	var err error
	r.foreign, err = mls.NewGroup(r.cfg, []byte("room"), nil, r.members(1, "foreign")[0])
	must(err)
	o := mls.CommitOptions{WelcomeTree: true}
	for _, j := range people {
		o.Proposals = append(o.Proposals, mls.Proposal{Type: mls.ProposalAdd, Add: &j.KeyPackage})
	}
	step, err := r.foreign.Commit(0, o)
	must(err)
	merged, err := r.foreign.Merge(step)
	must(err)
	must(r.foreign.Settle(merged))
	r.gateway, err = mls.JoinWelcome(r.cfg, step.Welcome, mls.JoinOptions{Own: people[:k]})
	must(err)
	ours, _ := pair(8, 200, func() { r.write(200) }, r.receive, func() {})
	return ours
}

// memory prints the heap that a room keeps: the shared state of all local leaves.
func memory(out io.Writer, large bool) {
	fmt.Fprintf(out, "\n## Heap of a room, suite 1, all leaves but one local, every node key known, 8 past epochs\n\n")
	x509Heap, leaf := x509Room(1000)
	fmt.Fprintf(out, "%6d members, X.509 (leaf certificate %d B, one intermediate): %.2f MB\n", 1000, leaf, float64(x509Heap)/1e6)
	sizes := []int{1000}
	if large {
		sizes = append(sizes, 10000)
	}
	for _, n := range sizes {
		bytes, r := heapOf(func() any {
			r := newRoom(mls.X25519AES128, n, nil, true)
			r.foreign = nil
			for i := range 9 {
				r.commit(mls.LeafIndex(2*i), mls.CommitOptions{})
			}
			return r
		})
		fmt.Fprintf(out, "%6d members, Basic: %.2f MB\n", n, float64(bytes)/1e6)
		_ = r
	}
}

// x509Room is the heap of a room of n members with X.509 credentials of one provider's CA.
func x509Room(n int) (heap uint64, leafBytes int) {
	cfg := &mls.Config{Suites: mls.DefaultSuites()}
	caKey, err := cfg.Suites.NewSignatureKey(mls.X25519AES128, rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway.example"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour)}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	person := func(i int) *mls.JoinSecrets {
		key, err := cfg.Suites.NewSignatureKey(mls.X25519AES128, rand.Reader)
		must(err)
		user, _ := url.Parse(fmt.Sprintf("mimi://gateway.example/u/person-%08d", i))
		client, _ := url.Parse(fmt.Sprintf("mimi://gateway.example/d/person-%08d/bridge", i))
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)),
			Subject: pkix.Name{CommonName: "A Person"}, URIs: []*url.URL{user, client}, NotAfter: time.Now().Add(time.Hour)}, ca, crypto.PublicKey(key.Public()), caKey)
		must(err)
		leafBytes = len(der)
		j, err := mls.NewKeyPackage(cfg, mls.X25519AES128, mls.LeafTemplate{Credential: mls.X509Credential(der, caDER), Signature: key})
		must(err)
		return j
	}
	heap, kept := heapOf(func() any {
		g, err := mls.NewGroup(cfg, []byte("room"), nil, person(0))
		must(err)
		var own []*mls.JoinSecrets
		for i := range n - 1 {
			own = append(own, person(i+1))
		}
		step, err := g.Commit(0, mls.CommitOptions{Own: own, OmitOwnWelcome: true})
		must(err)
		merged, err := g.Merge(step)
		must(err)
		must(g.Settle(merged))
		return g
	})
	_ = kept
	return heap, leafBytes
}

// scale runs large groups once, to show that no step is quadratic.
func scale(out io.Writer) error {
	fmt.Fprintf(out, "\n## Large groups, suite 1, empty GroupContext, each operation once\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "members\tadd all\tper member\tjoin, one leaf\tper member\tjoin, half\tremove one\tmessage\t")
	for _, n := range []int{1000, 10000, 30000} {
		r := &room{cfg: &mls.Config{Suites: mls.DefaultSuites()}, suite: mls.X25519AES128}
		people := r.members(n-1, "person")
		o := mls.CommitOptions{}
		for _, j := range people {
			o.Proposals = append(o.Proposals, mls.Proposal{Type: mls.ProposalAdd, Add: &j.KeyPackage})
		}
		creator, err := mls.NewGroup(r.cfg, []byte("room"), nil, r.members(1, "gateway")[0])
		must(err)
		r.gateway = creator
		var step *mls.Step
		add := best(1, 1, func() { step = r.commit(0, o) })
		tree := r.gateway.RatchetTree()
		join := func(own []*mls.JoinSecrets) time.Duration {
			return best(1, 1, func() {
				_, err := mls.JoinWelcome(r.cfg, step.Welcome, mls.JoinOptions{Own: own, RatchetTree: tree})
				must(err)
			})
		}
		one, half := join(people[:1]), join(people[:n/2])
		remove := best(1, 1, func() {
			r.commit(0, mls.CommitOptions{Proposals: []mls.Proposal{{Type: mls.ProposalRemove, Remove: mls.LeafIndex(n / 2)}}})
		})
		send := best(3, 20, func() { r.send() })
		fmt.Fprintf(w, "%d\t%v\t%v\t%v\t%v\t%v\t%v\t%v\t\n", n, short(add), short(add/time.Duration(n)), short(one), short(one/time.Duration(n)),
			short(half), short(remove), short(send))
	}
	return w.Flush()
}
