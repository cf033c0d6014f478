package adaptertest

import (
	"slices"
	"testing"
	"time"
)

// Run runs the suite. It reports what the network lacks and what was skipped for it, with the reasons.
func Run(t *testing.T, n Network) {
	n.check(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &stage{T: t, net: n}
			s.needs(c.needs...)
			began := time.Now()
			s.name = n.Conversation(t)
			c.run(s)
			if d := time.Since(began); d > n.patience()/2 {
				t.Logf("slow: %v", d.Round(time.Millisecond))
			}
		})
	}
}

// testCase is one case of the suite.
type testCase struct {
	name  string
	needs []Ability
	run   func(*stage)
}

// cases are in the order of what one wants to see work first. supports asks for the abilities that Limits tell of.
var cases = []testCase{
	{"text from people", nil, textFromPeople},
	{"text to people", nil, textToPeople},
	{"own names", nil, ownNames},
	{"namesakes", []Ability{Namesakes}, namesakes},
	{"the gateway speaks", nil, gatewaySpeaks},
	{"order", nil, order},
	{"odd unicode from people", nil, unicodeFromPeople},
	{"odd unicode to people", nil, unicodeToPeople},
	{"huge from people", nil, hugeFromPeople},
	{"huge to people", nil, hugeToPeople},
	{"several parts", nil, severalParts},
	{"parts done before", nil, partsDone},

	{"edit by people", []Ability{EditIn}, editIn},
	{"edit by us", nil, editOut},
	{"reply by people", []Ability{ReplyIn}, replyIn},
	{"reply by us", nil, replyOut},
	{"reaction by people", []Ability{ReactionIn}, reactionIn},
	{"reaction by us", nil, reactionOut},
	{"delete by people", []Ability{DeleteIn}, deleteIn},
	{"delete by us", nil, deleteOut},

	{"echo", nil, echo},
	{"repeated send", []Ability{Known}, repeatedSend},
	{"not taken", []Ability{Again}, notTaken},
	{"taken but not acknowledged", []Ability{Again}, takenTwice},
	{"reconnect", []Ability{Links}, reconnect},
	{"reconnect and catch up", []Ability{Links, CatchUp}, reconnectCatchUp},
	{"slow send", []Ability{Links}, slowSend},
	{"certain failure", []Ability{Links}, certainFailure},
	{"unknown outcome, arrived", []Ability{Links, Confirms}, unknownArrived},
	{"unknown outcome, lost", []Ability{Links, Confirms}, unknownLost},
	{"no such conversation", nil, noConversation},
	{"not connected", nil, notConnected},

	{"two accounts", []Ability{TwoAccounts}, twoAccounts},
	{"another gateway", []Ability{TwoAccounts, Markers}, anotherGateway},
	{"rename by people", []Ability{RenameIn}, renameIn},
	{"rename of ours", []Ability{RenameOut}, renameOut},
	{"join by people", []Ability{JoinIn}, joinIn},
	{"leave by people", []Ability{LeaveIn}, leaveIn},
	{"kick by people", []Ability{KickIn}, kickIn},
	{"ours kicked by people", []Ability{KickOurs}, kickOurs},
	{"ours join and leave", []Ability{MemberOut}, memberOut},
	{"kick by us", []Ability{KickOut}, kickOut},
	{"restart", nil, restart},
	{"restart and catch up", []Ability{CatchUp}, restartCatchUp},
}

// abilities are all that Lacks may name.
var abilities = []Ability{EditIn, EditOut, ReplyIn, ReplyOut, ReactionIn, ReactionOut, DeleteIn, DeleteOut, OwnNames, Namesakes,
	Markers, Known, Confirms, Again, CatchUp, Links, RenameIn, RenameOut, JoinIn, LeaveIn, KickIn, KickOurs, MemberOut, KickOut, TwoAccounts,
	Missing}

// check refuses a Network that is not complete, and reports all that it lacks.
func (n Network) check(t *testing.T) {
	t.Helper()
	if n.Driver.New == nil || n.Config == nil || n.Conversation == nil || n.Human == nil {
		t.Fatal("Network needs Driver, Config, Conversation and Human")
	}
	if _, lacks := n.Lacks[Links]; (n.Link == nil) != lacks {
		t.Fatal("Network needs Link, or the reason for its absence in Lacks")
	}
	for a, why := range n.Lacks {
		if !slices.Contains(abilities, a) || why == "" {
			t.Fatalf("Lacks: unknown ability, or no reason: %q: %q", a, why)
		}
	}
	for _, a := range abilities {
		if why, lacks := n.Lacks[a]; lacks {
			t.Logf("%s lacks %s: %s", n.Driver.Name, a, why)
		}
	}
}
