package hub_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"mimigate/core/hub"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

var noAAD = mls.Framing{SafeAAD: mls.SafeAAD{}}

func parseUser(t *testing.T, name string) uri.User {
	t.Helper()
	u, err := uri.ParseUser(user(name))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// info asks the hub for a GroupInfo as a client of a user.
func (s *stage) info(from uri.Provider, name string, change func(*mimi.GroupInfoRequest)) (*mimi.GroupInfoResponse, *mimi.GroupInfoPlain, *mls.SignatureKey) {
	s.t.Helper()
	key := client(s.t, name).Signature
	req := &mimi.GroupInfoRequest{Suite: suite, SignatureKey: key.PublicBytes(), Credential: mls.BasicCredential([]byte(user(name)))}
	private, err := req.NewKey(mls.DefaultSuites(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := req.Sign(mls.DefaultSuites(), key); err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := s.hub.GroupInfo(s.t.Context(), from, club, req)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.Code != mimi.GroupInfoSuccess {
		return resp, nil, key
	}
	plain, err := resp.Open(mls.DefaultSuites(), private)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, plain, key
}

// enter makes the external commit by which a client comes in, with the pending SelfRemoves (mls-extensions-10 §6.3).
func (s *stage) enter(name string, plain *mimi.GroupInfoPlain, key *mls.SignatureKey) (*mls.Group, *mimi.UpdateRequest) {
	s.t.Helper()
	j := client(s.t, name)
	leaf := mls.LeafTemplate{Credential: j.KeyPackage.LeafNode.Credential, Signature: key, Extensions: j.KeyPackage.LeafNode.Extensions}
	options := mls.ExternalOptions{RatchetTree: plain.Tree.Tree, Framing: noAAD}
	for _, p := range plain.Pending {
		options.Pending = append(options.Pending, p.Proposal.Message)
	}
	g, step, err := mls.ExternalCommit(engine(), &plain.GroupInfo, leaf, options)
	if err != nil {
		s.t.Fatal(err)
	}
	return g, request(s.t, step)
}

// C25, C17: who may is told what an external commit needs, encrypted to them, in the hub's name; nobody else is told anything.
func TestGroupInfo(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	s.admit(g, "bob-b", policy.MemberRole)
	resp, plain, key := s.info(pb, "bob-b", nil)
	if resp.Code != mimi.GroupInfoSuccess {
		t.Fatalf("%+v", resp)
	}
	sender := must(s.hub.Sender(t.Context(), suite))
	if !bytes.Equal(resp.Hub.SignatureKey, sender.SignatureKey) || !resp.Hub.Credential.Equal(&sender.Credential) || resp.Room != club.String() {
		t.Error("not in the name of the hub as it stands in external_senders")
	}
	if _, has := plain.GroupInfo.Extensions.Get(mls.ExtRatchetTree); has || plain.Tree.Representation != mls.TreeFull {
		t.Error("the tree is not beside the GroupInfo")
	}
	second, req := s.enter("bob-b", plain, key)
	partial := *req
	partial.GroupInfo = mimi.GroupInfoOption{Partial: req.GroupInfo.Full.Partial()}
	if resp := s.update(pb, &partial); resp.Code != mimi.UpdateSuccess { // the hub makes the whole of it
		t.Fatalf("%+v", resp)
	}
	if second.Epoch() != g.Epoch()+1 {
		t.Errorf("epoch %d", second.Epoch())
	}
	if _, plain, _ := s.info(pb, "bob-b", nil); plain == nil || plain.GroupInfo.Context.Epoch != g.Epoch()+1 {
		t.Error("the GroupInfo rebuilt is not that of the epoch")
	}
	var seen *mimi.GroupInfoRequest
	s.info(pb, "bob-b", func(r *mimi.GroupInfoRequest) { c := *r; seen = &c })
	for name, test := range map[string]struct {
		from   uri.Provider
		who    string
		change func(*mimi.GroupInfoRequest)
	}{
		"not in the room":       {pc, "eve-c", nil},
		"by another provider":   {pc, "bob-b", nil},
		"forged":                {pb, "bob-b", func(r *mimi.GroupInfoRequest) { r.Signature[0] ^= 1 }},
		"another's credential":  {pb, "bob-b", func(r *mimi.GroupInfoRequest) { r.Credential = mls.BasicCredential([]byte(user("ann-a"))) }},
		"seen before":           {pb, "bob-b", func(r *mimi.GroupInfoRequest) { *r = *seen }},
		"of another suite":      {pb, "bob-b", func(r *mimi.GroupInfoRequest) { r.Suite = mls.P256AES128 }},
		"of an unknown suite":   {pb, "bob-b", func(r *mimi.GroupInfoRequest) { r.Suite = 0x7777 }},
		"credential of no user": {pb, "bob-b", func(r *mimi.GroupInfoRequest) { r.Credential = mls.BasicCredential([]byte("x")) }},
	} {
		if resp, _, _ := s.info(test.from, test.who, test.change); resp.Code != mimi.GroupInfoNotAuthorized {
			t.Errorf("%s: %+v", name, resp)
		}
	}
	other, err := s.hub.GroupInfo(t.Context(), pb, must(uri.ParseRoom("mimi://a.example/r/none")), seen)
	if err != nil || other.Code != mimi.GroupInfoNotAuthorized {
		t.Errorf("an unknown room is told from one that is closed: %+v, %v", other, err)
	}
}

// C24: what the hub has proposed and an external commit could not take goes with it anew, and is to be committed.
func TestExternalCommitRenews(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	s.admit(g, "bob-b", policy.MemberRole)
	s.admit(g, "cat-c", policy.MemberRole)
	if err := s.hub.Expel(t.Context(), club, parseUser(t, "cat-c"), policy.BannedRole); err != nil {
		t.Fatal(err)
	}
	// Again, and of somebody who is not there: nothing to propose.
	if err := errors.Join(s.hub.Expel(t.Context(), club, parseUser(t, "cat-c"), policy.BannedRole),
		s.hub.Expel(t.Context(), club, parseUser(t, "dan-c"), policy.NoRole)); err != nil {
		t.Error(err)
	}
	_, plain, key := s.info(pb, "bob-b", nil)
	if plain == nil || len(plain.Pending) != 2 || plain.Pending[0].Accepted == 0 {
		t.Fatalf("%+v", plain)
	}
	_, req := s.enter("bob-b", plain, key)
	resp := s.update(pb, req)
	if resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	s.until("the commit", func() bool {
		told := s.followers[pa].told(t)
		return len(told) > 0 && told[len(told)-1].Timestamp == resp.Accepted
	})
	told := s.followers[pa].told(t)
	renewed := told[len(told)-1].More
	if len(renewed) != 2 {
		t.Fatalf("%d proposals go with the commit", len(renewed))
	}
	s.reopen() // they are on disk
	// Ann's client commits them.
	for _, f := range told[len(told)-2:] {
		step, err := g.Process(f.Message.Message, mls.Arrival{})
		if err != nil {
			t.Fatal(err)
		}
		if step.Commit != nil {
			must(g.Merge(step))
		}
	}
	for _, m := range renewed {
		must(g.Process(m.Message, mls.Arrival{}))
	}
	bare := must(g.Commit(0, mls.CommitOptions{Framing: noAAD, NoPending: true, WantGroupInfo: true}))
	if resp := s.update(pa, request(t, bare)); resp.Code == mimi.UpdateSuccess {
		t.Error("a commit without the hub's proposals is taken")
	}
	must(0, g.Settle(g.Drop()))
	step := must(g.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true}))
	if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	must(g.Merge(step))
	if role := s.state(g).Role(parseUser(t, "cat-c")); role != policy.BannedRole || s.state(g).Clients(parseUser(t, "cat-c")) != 0 {
		t.Errorf("role %d", role)
	}
	if resp := s.submit(pc, s.message(s.groups["cat-c"], "cat-c", nil)); resp.Code != mimi.SubmitNotAllowed {
		t.Errorf("who is banned still speaks: %+v", resp)
	}
	if err := s.hub.Expel(t.Context(), must(uri.ParseRoom("mimi://a.example/r/none")), parseUser(t, "cat-c"), policy.NoRole); !errors.Is(err, mimi.ErrNotFound) {
		t.Errorf("no such room: %v", err)
	}
}

// C10: of commits that race for an epoch one succeeds, the others learn of the epoch.
func TestRace(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	reqs := map[uri.Provider]*mimi.UpdateRequest{}
	b := s.admit(g, "bob-b", policy.MemberRole)
	c := s.admit(g, "cat-c", policy.MemberRole)
	step := must(b.Process(must(mimi.ParseMessage(s.lastCommit(pb))).Message, mls.Arrival{}))
	must(b.Merge(step))
	for p, g := range map[uri.Provider]*mls.Group{pa: g, pb: b, pc: c} {
		reqs[p] = request(t, must(g.Commit(g.LocalLeaves()[0], mls.CommitOptions{Framing: noAAD, WantGroupInfo: true})))
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	codes := map[mimi.UpdateCode]int{}
	for p, req := range reqs {
		all.Go(func() {
			resp, err := s.hub.Update(context.Background(), p, club, req)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			codes[resp.Code]++
			if resp.Code == mimi.UpdateWrongEpoch && resp.Epoch != g.Epoch()+1 {
				t.Errorf("%+v", resp)
			}
		})
	}
	all.Wait()
	if codes[mimi.UpdateSuccess] != 1 || codes[mimi.UpdateWrongEpoch] != 2 {
		t.Errorf("%v", codes)
	}
}

// lastCommit is the last commit that a provider was told.
func (s *stage) lastCommit(p uri.Provider) []byte {
	s.t.Helper()
	var raw []byte
	s.until("a commit", func() bool {
		for _, f := range s.followers[p].told(s.t) {
			if f.Message.Public != nil && f.Message.Public.Content.Commit != nil {
				raw = f.Message.Raw
			}
		}
		return raw != nil
	})
	return raw
}

const contentType = "application/mimi-content"

// evidence reads messages of the test: sender and room, ended by a line break each, and the salt.
func evidence(message []byte) (hub.Claimed, error) {
	parts := strings.SplitN(string(message), "\n", 3)
	if len(parts) < 3 {
		return hub.Claimed{}, errors.New("no message")
	}
	return hub.Claimed{Sender: parts[0], Room: parts[1], Salt: []byte(parts[2]), MediaType: contentType}, nil
}

// C28: a report's franks are checked, and whoever reports is told nothing of that.
func TestReportAbuse(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	b := s.admit(g, "bob-b", policy.MemberRole)
	s.hub.Evidence = evidence
	content := []byte(user("bob-b") + "\n" + club.String() + "\nsalt")
	framed := mls.Marshal(&mls.ApplicationFraming{MediaType: mls.MediaType{Type: contentType}, Content: content})
	tag := mimi.FrankingTag([]byte("salt"), framed)
	sent := s.submit(pb, s.message(b, "bob-b", tag[:]))
	if sent.Frank == nil {
		t.Fatalf("%+v", sent)
	}
	good := mimi.AbusiveMessage{Content: content, Frank: *sent.Frank, Accepted: sent.Accepted}
	altered := func(f func(*mimi.AbusiveMessage)) mimi.AbusiveMessage {
		m := good
		m.Frank.Signature = bytes.Clone(m.Frank.Signature)
		f(&m)
		return m
	}
	list := []mimi.AbusiveMessage{good,
		altered(func(m *mimi.AbusiveMessage) { m.Content = append(bytes.Clone(m.Content), 't') }),
		altered(func(m *mimi.AbusiveMessage) { m.Content = bytes.Replace(m.Content, []byte("bob"), []byte("ann"), 1) }),
		altered(func(m *mimi.AbusiveMessage) { m.Accepted++ }),
		altered(func(m *mimi.AbusiveMessage) { m.Frank.Server[3] ^= 1 }),
		altered(func(m *mimi.AbusiveMessage) { m.Frank.Signature[3] ^= 1 }),
		altered(func(m *mimi.AbusiveMessage) { m.Frank.Suite = 0x7777 }),
		altered(func(m *mimi.AbusiveMessage) { m.Content = []byte("?") }),
	}
	if err := s.hub.ReportAbuse(t.Context(), pa, club, &mimi.AbuseReport{Reporter: user("ann-a"), Accused: user("bob-b"), Note: "spam", Messages: list}); err != nil {
		t.Fatal(err)
	}
	if err := s.hub.ReportAbuse(t.Context(), pb, club, &mimi.AbuseReport{Accused: user("ann-a"), Messages: list[:1]}); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	got, err := s.hub.Reports(t.Context(), 10)
	if err != nil || len(got) != 2 || got[1].Note != "spam" || got[1].From != pa || got[1].Room != club || len(got[1].Messages) != len(list) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, m := range got[1].Messages {
		if m.Proven != (i == 0) || !bytes.Equal(m.Content, list[i].Content) {
			t.Errorf("message %d: proven %v", i, m.Proven)
		}
	}
	if got[0].Messages[0].Proven {
		t.Error("proven against somebody else")
	}
	for name, test := range map[string]struct {
		from uri.Provider
		r    *mimi.AbuseReport
		want error
	}{
		"by a stranger":           {pc, &mimi.AbuseReport{}, mimi.ErrForbidden},
		"for somebody elsewhere":  {pb, &mimi.AbuseReport{Reporter: user("ann-a")}, mimi.ErrForbidden},
		"by nobody":               {pb, &mimi.AbuseReport{Reporter: "bob"}, mimi.ErrBadRequest},
		"of too many messages":    {pb, &mimi.AbuseReport{Messages: make([]mimi.AbusiveMessage, 65)}, mimi.ErrBadRequest},
		"who has no such role":    {pa, &mimi.AbuseReport{Reporter: "mimi://a.example/u/out"}, nil},
		"of a room that is not's": {pb, nil, mimi.ErrNotFound},
	} {
		id := club
		if test.r == nil {
			id, test.r = must(uri.ParseRoom("mimi://a.example/r/none")), &mimi.AbuseReport{}
		}
		if err := s.hub.ReportAbuse(t.Context(), test.from, id, test.r); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// files answers like the stores of files on the hosts it is asked for.
type files struct{ asked []*http.Request }

func (f *files) RoundTrip(r *http.Request) (*http.Response, error) {
	f.asked = append(f.asked, r)
	w := httptest.NewRecorder()
	switch r.URL.Path {
	case "/moved":
		http.Redirect(w, r, "/file", http.StatusFound)
	case "/away":
		http.Redirect(w, r, "https://evil.example/file", http.StatusFound)
	case "/plain":
		http.Redirect(w, r, "http://files.b.example/file", http.StatusFound)
	case "/circle":
		http.Redirect(w, r, "/circle", http.StatusFound)
	case "/gone":
		http.Error(w, "gone", http.StatusNotFound)
	default:
		w.Header().Set("Set-Cookie", "you=1")
		w.Header().Set("ETag", `"1"`)
		_, _ = w.WriteString("file")
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// C29: files are fetched from where the rooms' providers keep them, and from nowhere else.
func TestDownload(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	s.admit(g, "bob-b", policy.MemberRole)
	store := new(files)
	s.hub.Assets = store
	get := func(text string, h http.Header) (*mimi.Asset, error) {
		return s.hub.Download(t.Context(), pb, &mimi.AssetRequest{URL: text, Header: h})
	}
	if _, err := get("https://files.b.example/file", nil); !errors.Is(err, mimi.ErrForbidden) {
		t.Errorf("before any room says so: %v", err)
	}
	c := room.Contents{Rules: policy.Rules{Assets: &policy.Assets{Domains: []policy.UploadDomains{
		{Provider: "b.example", Hosts: []string{"Files.B.example"}}, {Provider: "c.example", Hosts: []string{"files.c.example"}}}}}}
	step := must(g.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true, Proposals: []mls.Proposal{{Type: mls.ProposalAppDataUpdate,
		AppDataUpdate: &mls.AppDataUpdate{Component: mls.ComponentID(policy.AssetPolicy), Operation: mls.OpUpdate, Update: c.Encode(policy.AssetPolicy)}}}}))
	if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	must(g.Merge(step))
	for _, path := range []string{"/file?x=1", "/moved", "/gone"} {
		a, err := get("https://files.b.example"+path, http.Header{"Range": {"bytes=0-"}, "Cookie": {"me=1"}, "Referer": {"x"}, "User-Agent": {"y"}})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		body, err := io.ReadAll(a.Body)
		if err != nil || path != "/gone" && (string(body) != "file" || a.Header.Get("ETag") == "") || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %q, %v, %v", path, body, a.Header, err)
		}
		if want := map[bool]int{true: 404, false: 200}[path == "/gone"]; a.Status != want {
			t.Errorf("%s: status %d", path, a.Status)
		}
		asked := store.asked[len(store.asked)-1].Header
		if asked.Get("Range") == "" || asked.Get("Cookie") != "" || asked.Get("Referer") != "" || asked.Get("User-Agent") != "" {
			t.Errorf("%s: asked with %v", path, asked)
		}
	}
	before := len(store.asked)
	for text, want := range map[string]error{
		"https://files.c.example/file":            mimi.ErrForbidden, // takes no part
		"https://evil.example/file":               mimi.ErrForbidden,
		"http://files.b.example/file":             mimi.ErrForbidden,
		"file:///etc/passwd":                      mimi.ErrForbidden,
		"https://u:p@files.b.example/file":        mimi.ErrForbidden,
		"https://files.b.example:8443/file":       mimi.ErrForbidden,
		"https://files.b.example.evil.org/":       mimi.ErrForbidden,
		"https://127.0.0.1/":                      mimi.ErrForbidden,
		"https://files.b.example%2f@evil.example": mimi.ErrForbidden,
		"https://%zz/":                            mimi.ErrBadRequest,
	} {
		if _, err := get(text, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if len(store.asked) != before {
		t.Error("something was fetched")
	}
	for path, want := range map[string]error{"/away": mimi.ErrForbidden, "/plain": mimi.ErrForbidden, "/circle": mimi.ErrNotFound} {
		if _, err := get("https://files.b.example"+path, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	s.reopen()
	s.hub.Assets = store
	if _, err := get("https://files.b.example/file", nil); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// No name leads to what is behind our own firewall.
func TestPublicTransport(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	transport := hub.PublicTransport()
	defer transport.CloseIdleConnections()
	at := must(url.Parse(server.URL))
	for _, host := range []string{at.Host, "[::1]:" + at.Port(), "0.0.0.0:" + at.Port(), "10.0.0.1:443", "169.254.169.254:443", "[fd00::1]:443",
		"[::ffff:127.0.0.1]:" + at.Port(), "100.64.0.1:443", "[64:ff9b::7f00:1]:443"} {
		resp, err := transport.RoundTrip(must(http.NewRequest(http.MethodGet, "https://"+host+"/", nil)))
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "not a public address") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// foundRoom makes another room of ann's with the rules that change makes.
func (s *stage) foundRoom(id string, change func(*room.Contents)) (*mls.Group, error) {
	s.t.Helper()
	sender := must(s.hub.Sender(s.t.Context(), suite))
	rules := policy.Default()
	rules.Role(policy.AdminRole).Min = 0
	rules.Bots = nil
	c := room.Contents{Rules: *rules, Metadata: room.Metadata{URI: id},
		Participants: []room.Participant{{User: user("ann-a"), Role: policy.OwnerRole}, {User: pa.String(), Role: policy.EnforcerRole}},
		Other:        mls.AppDataDictionary{{ID: mls.ComponentSafeAAD, Data: mls.Marshal(mls.ComponentsList{0x20})}}}
	change(&c)
	c.Rules.Base.Components = c.Rules.Components()
	g, err := mls.NewGroup(engine(), []byte(strings.Replace(id, "/r/", "/g/", 1)), mls.Extensions{
		{Type: mls.ExtExternalSenders, Data: mls.Marshal(mls.ExternalSenders{sender})}, c.Dictionary().Extension()}, client(s.t, "ann-a"))
	if err != nil {
		s.t.Fatal(err)
	}
	info := must(g.GroupInfo(0, false))
	return g, s.hub.Create(s.t.Context(), must(uri.ParseRoom(id)), info, g.RatchetTree())
}

// C16: there is one room of fixed membership for a set of people (mimi-room-policy-04 §5).
func TestFixedMembership(t *testing.T) {
	s := newStage(t)
	direct := func(id string, other string) error {
		_, err := s.foundRoom(id, func(c *room.Contents) {
			c.Rules = *policy.DirectMessage()
			c.Participants = []room.Participant{{User: user("ann-a"), Role: policy.AdminRole}, {User: user(other), Role: policy.AdminRole}}
		})
		return err
	}
	if err := direct("mimi://a.example/r/one", "bob-b"); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if err := direct("mimi://a.example/r/two", "bob-b"); !errors.Is(err, policy.ErrDenied) {
		t.Errorf("a second room of the same two: %v", err)
	}
	if err := direct("mimi://a.example/r/three", "cat-c"); err != nil {
		t.Errorf("a room of others: %v", err)
	}
}

// C16: who leaves a room leaves those that depend on it; nobody is brought into these who is not in that.
func TestParentRoom(t *testing.T) {
	s := newStage(t)
	attic := must(uri.ParseRoom("mimi://a.example/r/attic"))
	dependent := func(id, parent string) (*mls.Group, error) {
		return s.foundRoom(id, func(c *room.Contents) {
			c.Rules.Base.ParentDependent, c.Rules.Base.ParentRoom = true, parent
			c.Participants = []room.Participant{{User: user("ann-a"), Role: policy.OwnerRole}, {User: user("bob-b"), Role: policy.MemberRole},
				{User: pa.String(), Role: policy.EnforcerRole}}
		})
	}
	if _, err := dependent(attic.String(), "mimi://a.example/r/none"); !errors.Is(err, policy.ErrDenied) {
		t.Errorf("no parent: %v", err)
	}
	for _, parent := range []string{attic.String(), "mimi://b.example/r/elsewhere", "nonsense"} {
		if _, err := dependent(attic.String(), parent); err == nil {
			t.Errorf("a parent that cannot be: %s", parent)
		}
	}
	g := s.found("ann-a")
	s.admit(g, "bob-b", policy.MemberRole)
	if _, err := dependent(attic.String(), club.String()); !errors.Is(err, policy.ErrDenied) {
		t.Errorf("as many as in the parent: %v", err)
	}
	s.admit(g, "cat-c", policy.MemberRole)
	child, err := dependent(attic.String(), club.String())
	if err != nil {
		t.Fatal(err)
	}
	s.reopen()
	refuse := func(name string) {
		t.Helper()
		j := client(t, name)
		u := must(s.childState(t, attic, child)).Change(room.Participant{User: user(name), Role: policy.MemberRole})
		step := must(child.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true, Proposals: []mls.Proposal{{Type: mls.ProposalAppDataUpdate,
			AppDataUpdate: &mls.AppDataUpdate{Component: mls.ComponentID(policy.ParticipantList), Operation: mls.OpUpdate, Update: u.Marshal()}},
			{Type: mls.ProposalAdd, Add: &j.KeyPackage}}}))
		if resp, err := s.hub.Update(t.Context(), pa, attic, request(t, step)); err != nil || resp.Code != mimi.UpdateNotAllowed {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
		must(0, child.Settle(child.Drop()))
	}
	refuse("eve-c")
	// Bob is banned from the parent: the hub proposes the same for the attic.
	list := s.listUpdate(g, room.Participant{User: user("bob-b"), Role: policy.BannedRole})
	step := must(g.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true, Proposals: []mls.Proposal{list, {Type: mls.ProposalRemove, Remove: 1}}}))
	if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	must(g.Merge(step))
	pending := must(s.store.HubProposals(t.Context(), attic))
	if len(pending) != 1 {
		t.Fatalf("%d proposals", len(pending))
	}
	m := must(mimi.ParseMessage(pending[0].Message))
	must(child.Process(m.Message, mls.Arrival{}))
	step = must(child.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true}))
	if resp, err := s.hub.Update(t.Context(), pa, attic, request(t, step)); err != nil || resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v, %v", resp, err)
	}
	must(child.Merge(step))
	if role := must(s.childState(t, attic, child)).Role(parseUser(t, "bob-b")); role != policy.BannedRole {
		t.Errorf("role %d", role)
	}
}

func (s *stage) childState(t *testing.T, id uri.Room, g *mls.Group) (*room.State, error) {
	t.Helper()
	dict, err := g.Context().Dictionary()
	if err != nil {
		return nil, err
	}
	var leaves []room.Leaf
	for i, node := range g.Members() {
		u, c, err := mimi.Identify(&node.Credential)
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, room.Leaf{Index: i, User: u, Client: c})
	}
	return room.New(id, dict, leaves)
}
