package interop

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Options of Run.
type Options struct {
	Suites []Suite // those to play; nil means all that subject and a peer share
	Brief  []Suite // those of which a few scenarios and a short random schedule are enough, since they cost much
	Epochs int     // length of the random schedules; a tenth of it in brief suites
	Seed   uint64  // of the random schedules; 0 means a new one, which is printed
}

// Run plays every scenario between subject and each peer, in both roles, in every suite they share, and then a random schedule per suite
// with all of them in one group. A scenario that needs what an implementation declares it cannot must fail.
func Run(t *testing.T, o Options, subject Implementation, peers ...Implementation) {
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	for _, suite := range shared(o.Suites, subject) {
		brief, epochs := slices.Contains(o.Brief, suite), o.Epochs
		if brief {
			epochs = (epochs + 9) / 10
		}
		t.Run(suiteName(suite), func(t *testing.T) {
			everyone := []Implementation{subject}
			for _, peer := range peers {
				if len(shared([]Suite{suite}, peer)) == 0 {
					continue
				}
				everyone = append(everyone, peer)
				t.Run(subject.Name()+" creates, "+peer.Name()+" joins", func(t *testing.T) { runScenarios(t, suite, brief, subject, peer) })
				if peer.Name() != subject.Name() {
					t.Run(peer.Name()+" creates, "+subject.Name()+" joins", func(t *testing.T) { runScenarios(t, suite, brief, peer, subject) })
				}
			}
			if len(everyone) < 2 || epochs == 0 {
				return
			}
			t.Run("random", func(t *testing.T) { runRandom(t, suite, epochs, o.Seed, everyone) })
			// With a peer in the group that lacks the draft's proposals none are made; so once more without such peers.
			able := slices.DeleteFunc(slices.Clone(everyone), func(i Implementation) bool { return lacks(i, DraftProposals) })
			if len(able) > 1 && len(able) < len(everyone) {
				t.Run("random with draft proposals", func(t *testing.T) { runRandom(t, suite, epochs, o.Seed, able) })
			}
		})
	}
}

// shared returns the suites of implementation that are in wanted, by name and code point; all of them if wanted is nil.
func shared(wanted []Suite, implementation Implementation) []Suite {
	if wanted == nil {
		return implementation.Suites()
	}
	have := implementation.Suites()
	return slices.DeleteFunc(slices.Clone(wanted), func(s Suite) bool { return !slices.Contains(have, s) })
}

func suiteName(s Suite) string { return fmt.Sprintf("suite-%#04x", s.Code) }

func runScenarios(t *testing.T, suite Suite, brief bool, creator, joiner Implementation) {
	for _, sc := range scenarios() {
		if brief && !sc.brief {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			limit := limitOf(creator, sc.creator)
			if limit == "" {
				limit = limitOf(joiner, sc.joiner)
			}
			s := newStage(suite, "group of "+t.Name())
			err := errors.Join(sc.play(t.Context(), s, creator, joiner), s.close())
			switch {
			case limit == "" && err != nil:
				t.Error(err)
			case limit != "" && err == nil:
				t.Errorf("succeeded, though declared impossible: %s", limit)
			case limit != "":
				t.Logf("fails as declared: %s: %v", limit, err)
			}
		})
	}
}

func lacks(implementation Implementation, f Feature) bool {
	_, limited := implementation.Limits()[f]
	return limited
}

func limitOf(implementation Implementation, needs []Feature) string {
	limits := implementation.Limits()
	for _, f := range needs {
		if why, limited := limits[f]; limited {
			return fmt.Sprintf("%s: %s (%s)", implementation.Name(), f, why)
		}
	}
	return ""
}
