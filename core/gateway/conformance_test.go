package gateway_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"mimigate/core/config"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
)

// TestConformance holds the provider to the points that a MIMI provider has to meet, one subtest each, by real bytes over real mutual TLS;
// what must be refused stands beside what must be taken.
func TestConformance(t *testing.T) {
	s := newTested(t)
	ann := s.join(t, "left", "Ann")
	b := newRival(t, s, "b.test", config.May{Invite: "allow", Search: "deny"})
	c := newRival(t, s, "c.test", config.May{Invite: "deny", Search: "allow"})
	b.enter()
	for _, point := range []struct {
		name string
		test func(*testing.T)
	}{
		{"C01", func(t *testing.T) { conformTLS(t, b) }},
		{"C02", func(t *testing.T) { conformDirectory(t, b) }},
		{"C03", func(t *testing.T) { conformEncoding(t, b) }},
		{"C04", func(t *testing.T) { conformKeysOnce(t, b) }},
		{"C06", func(t *testing.T) { conformConsent(t, b, c) }},
		{"C07", func(t *testing.T) { conformKeySignature(t, b) }},
		{"C09", func(t *testing.T) { conformPrivateHandshake(t, b) }},
		{"C10", func(t *testing.T) { conformEpochs(t, b) }},
		{"C12", func(t *testing.T) { conformAdds(t, b) }},
		{"C17", func(t *testing.T) { conformGroupInfos(t, b) }},
		{"C19", func(t *testing.T) { conformOrder(t, b) }},
		{"C20", func(t *testing.T) { conformSubmit(t, b, c) }},
		{"C21", func(t *testing.T) { conformFranks(t, b) }},
		{"C23", func(t *testing.T) { conformHub(t, b, c) }},
		{"C25", func(t *testing.T) { conformGroupInfo(t, b) }},
		{"C26", func(t *testing.T) { conformConsentEntries(t, b) }},
		{"C27", func(t *testing.T) { conformSearch(t, b, c) }},
		{"C29", func(t *testing.T) { conformAssets(t, b) }},
		{"C31", func(t *testing.T) { conformSafeAAD(t, b, func() { must(t)(ann.Say("for C31")) }) }},
		{"C33", func(t *testing.T) { conformCapabilities(t, b) }},
		{"C42", func(t *testing.T) { conformDomains(t, b, c) }},
		{"C43", func(t *testing.T) { conformRepeats(t, b) }},
		{"C13", func(t *testing.T) { conformRemoved(t, b) }}, // last, as the rival is out after it
	} {
		t.Run(point.name, func(t *testing.T) {
			b.t, c.t = t, t
			point.test(t)
		})
	}
}

const annUser = "mimi://a.test/u/ann"

// wants compares the status of a request.
func wants(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// C01: mutual TLS proves From; Host is ours; otherwise nothing is processed.
func conformTLS(t *testing.T, b *rival) {
	q := request{endpoint: "submitMessage", target: b.tested.room.String(), body: mimi.Encode(b.message(nil))}
	code, _ := b.raw(q)
	wants(t, "as it should be", code, http.StatusOK)
	before := len(b.told())
	q.from, q.body = "mimi@c.test", mimi.Encode(b.message(nil))
	code, _ = b.raw(q)
	wants(t, "From of another", code, http.StatusForbidden)
	q.from, q.host = "", "other.test"
	code, _ = b.raw(q)
	wants(t, "another Host", code, http.StatusMisdirectedRequest)
	if a := b.submit(b.message(nil)); a.Code != mimi.SubmitAccepted || before != 1 {
		t.Errorf("%+v", a)
	}
	if got := b.told(); len(got) != 1 || got[0].Message.Private == nil {
		t.Errorf("what was refused was fanned out: %+v", got)
	}
}

// C02: the directory has ten https URLs with one variable each, and is for everybody.
func conformDirectory(t *testing.T, b *rival) {
	code, body := b.raw(request{method: http.MethodGet, path: "/.well-known/mimi-protocol-directory"})
	wants(t, "directory", code, http.StatusOK)
	var d map[string]string
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"keyMaterial", "update", "notify", "submitMessage", "groupInfo", "requestConsent", "updateConsent", "identifierQuery",
		"reportAbuse", "proxyDownload"} {
		if !strings.HasPrefix(d[key], "https://") || strings.Count(d[key], "{") != 1 || strings.Count(d[key], "}") != 1 {
			t.Errorf("%s: %q", key, d[key])
		}
	}
	code, _ = b.raw(request{method: http.MethodPost, path: "/.well-known/mimi-protocol-directory"})
	wants(t, "POST", code, http.StatusMethodNotAllowed)
}

// C03: minimal lengths, nothing after a body, and no enum value that is too much.
func conformEncoding(t *testing.T, b *rival) {
	good := mimi.Encode(&mimi.IdentifierRequest{Elements: []mimi.QueryElement{{Type: mimi.SearchNick, Value: "x"}}})
	q := request{endpoint: "identifierQuery", target: "a.test", body: good}
	code, _ := b.raw(q)
	wants(t, "good", code, http.StatusOK)
	q.body = append(bytes.Clone(good), 0)
	code, _ = b.raw(q)
	wants(t, "an octet after the end", code, http.StatusBadRequest)
	q.body = append([]byte{0x40, good[0]}, good[1:]...)
	code, _ = b.raw(q)
	wants(t, "a length that is not minimal", code, http.StatusBadRequest)
	q.body = mimi.Encode(&mimi.IdentifierRequest{Elements: []mimi.QueryElement{{Type: 200, Value: "x"}}})
	if code, _ = b.raw(q); code >= 500 {
		t.Errorf("an unknown search type: %d", code)
	}
}

// C04: no key package is given twice, not even to requests at the same time.
func conformKeysOnce(t *testing.T, b *rival) {
	var mu sync.Mutex
	seen := map[string]bool{}
	var asking sync.WaitGroup
	for range 8 {
		q, _ := b.keyRequest(annUser, b.tested.room.String())
		asking.Go(func() {
			a := b.keyMaterial(q)
			mu.Lock()
			defer mu.Unlock()
			if a.Code != mimi.UserSuccess || len(a.Clients) != 1 || a.Clients[0].KeyPackage == nil {
				t.Errorf("%+v", a)
				return
			}
			key := string(mls.Marshal(a.Clients[0].KeyPackage))
			if seen[key] {
				t.Error("a key package was given twice")
			}
			seen[key] = true
			if err := mls.VerifyKeyPackage(conformEngine(), a.Clients[0].KeyPackage); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
}

// C06: without consent there are no key packages, and nothing is listed beside the code.
func conformConsent(t *testing.T, b, c *rival) {
	q, _ := b.keyRequest(annUser, b.tested.room.String())
	if a := b.keyMaterial(q); a.Code != mimi.UserSuccess {
		t.Errorf("with consent: %+v", a)
	}
	q, _ = c.keyRequest(annUser, "")
	if a := c.keyMaterial(q); a.Code != mimi.UserNoConsent && a.Code != mimi.UserNoConsentForThisOne || len(a.Clients) != 0 {
		t.Errorf("without: %+v", a)
	}
}

// C07: the signature over the request, and who it is from.
func conformKeySignature(t *testing.T, b *rival) {
	for what, change := range map[string]func(*mimi.KeyMaterialRequest, *mls.SignatureKey) error{
		"altered": func(q *mimi.KeyMaterialRequest, _ *mls.SignatureKey) error { q.Signature[3] ^= 1; return nil },
		"of another room": func(q *mimi.KeyMaterialRequest, _ *mls.SignatureKey) error {
			q.Room = "mimi://a.test/r/other"
			return nil
		},
		"of a user of another provider": func(q *mimi.KeyMaterialRequest, key *mls.SignatureKey) error {
			q.Requester = "mimi://c.test/u/gateway"
			return q.Sign(mls.DefaultSuites(), key)
		},
		"of another user": func(q *mimi.KeyMaterialRequest, key *mls.SignatureKey) error {
			q.Requester = "mimi://b.test/u/other"
			return q.Sign(mls.DefaultSuites(), key)
		},
	} {
		q, key := b.keyRequest(annUser, b.tested.room.String())
		if err := change(q, key); err != nil {
			t.Fatal(err)
		}
		code, _ := b.raw(request{endpoint: "keyMaterial", target: annUser, body: mimi.Encode(q)})
		wants(t, what, code, http.StatusForbidden)
	}
	q, _ := b.keyRequest(annUser, b.tested.room.String())
	code, _ := b.raw(request{endpoint: "keyMaterial", target: "mimi://a.test/u/other", body: mimi.Encode(q)})
	wants(t, "another target in the path", code, http.StatusBadRequest)
}

// C09: a handshake in a PrivateMessage is not allowed.
func conformPrivateHandshake(t *testing.T, b *rival) {
	b.follow()
	q, _ := b.commit(mls.CommitOptions{Private: true})
	defer b.drop()
	if a := b.update(q); a.Code != mimi.UpdateNotAllowed {
		t.Errorf("%+v", a)
	}
}

// C10: of two commits for one epoch one is accepted, and the other is told the current epoch.
func conformEpochs(t *testing.T, b *rival) {
	b.follow()
	q, _ := b.commit(mls.CommitOptions{})
	b.drop()
	b.accepted(mls.CommitOptions{})
	if a := b.update(q); a.Code != mimi.UpdateWrongEpoch || a.Epoch != b.group.Epoch() {
		t.Errorf("%+v at epoch %d", a, b.group.Epoch())
	}
}

// C12: a client is added with or after its user's entry in the participant list, never before.
func conformAdds(t *testing.T, b *rival) {
	b.follow()
	bella, err := b.client(b.user("bella"))
	if err != nil {
		t.Fatal(err)
	}
	add := mls.Proposal{Type: mls.ProposalAdd, Add: &bella.KeyPackage}
	q, _ := b.commit(mls.CommitOptions{Proposals: []mls.Proposal{add}})
	if a := b.update(q); a.Code != mimi.UpdateNotAllowed && a.Code != mimi.UpdateInvalidProposal {
		t.Errorf("a client of nobody in the list: %+v", a)
	}
	b.drop()
	b.accepted(mls.CommitOptions{Proposals: []mls.Proposal{b.listUpdate(room.Participant{User: b.user("bella").String(), Role: policy.MemberRole}), add}})
}

// C17: the GroupInfo may be whole or partial, and must be the committer's.
func conformGroupInfos(t *testing.T, b *rival) {
	b.follow()
	q, _ := b.commit(mls.CommitOptions{})
	q.GroupInfo.Full.Signature[5] ^= 1
	if a := b.update(q); a.Code == mimi.UpdateSuccess {
		t.Errorf("an altered GroupInfo: %+v", a)
	}
	b.drop()
	q, step := b.commit(mls.CommitOptions{})
	q.GroupInfo = mimi.GroupInfoOption{Partial: step.GroupInfo.Partial()}
	if a := b.update(q); a.Code != mimi.UpdateSuccess {
		t.Fatalf("a partial one: %+v", a)
	}
	if _, err := b.group.Merge(step); err != nil {
		t.Fatal(err)
	}
	b.accepted(mls.CommitOptions{})
}

// C19: timestamps grow, and what is fanned out comes in the order in which it was accepted.
func conformOrder(t *testing.T, b *rival) {
	b.follow()
	var accepted []uint64
	for range 5 {
		accepted = append(accepted, b.submit(b.message(nil)).Accepted)
	}
	for len(accepted) > 0 {
		for _, f := range b.told() {
			if f.Message.Private == nil {
				continue
			}
			if f.Timestamp == accepted[0] {
				accepted = accepted[1:]
			}
			if len(accepted) > 1 && accepted[0] >= accepted[1] {
				t.Errorf("timestamps %v", accepted)
			}
		}
	}
}

// C20: who may submit what, and for which epoch.
func conformSubmit(t *testing.T, b, c *rival) {
	b.follow()
	if a := b.submit(b.message(nil)); a.Code != mimi.SubmitAccepted {
		t.Errorf("%+v", a)
	}
	q := b.message(nil)
	q.Sender = annUser
	if a := b.submit(q); a.Code != mimi.SubmitNotAllowed {
		t.Errorf("for a user of another provider: %+v", a)
	}
	q.Sender = b.user("stranger").String()
	if a := b.submit(q); a.Code != mimi.SubmitNotAllowed {
		t.Errorf("for nobody in the room: %+v", a)
	}
	q.Sender = c.user("gateway").String()
	if a := c.submit(q); a.Code != mimi.SubmitNotAllowed {
		t.Errorf("by a provider that takes no part: %+v", a)
	}
	old := b.message(nil)
	for range 9 { // the room takes messages that are eight epochs late
		b.accepted(mls.CommitOptions{})
	}
	if a := b.submit(old); a.Code != mimi.SubmitEpochTooOld || a.Epoch != b.group.Epoch() {
		t.Errorf("late: %+v", a)
	}
	future := b.message(nil)
	future.Message.Private.Epoch++
	future.Message = mimi.NewMessage(future.Message.Message)
	if a := b.submit(future); a.Code != mimi.SubmitNotAllowed {
		t.Errorf("of an epoch to come: %+v", a)
	}
}

// C21: a frank is there where a tag is, it holds, and says the same time as the response and the fanout.
func conformFranks(t *testing.T, b *rival) {
	b.follow()
	if a := b.submit(b.message(nil)); a.Code != mimi.SubmitAccepted || a.Frank != nil {
		t.Errorf("without a tag: %+v", a)
	}
	a := b.submit(b.message(bytes.Repeat([]byte{7}, mimi.TagSize)))
	if a.Frank == nil {
		t.Fatalf("%+v", a)
	}
	dict, err := b.group.Context().Dictionary()
	if err != nil {
		t.Fatal(err)
	}
	data, _ := dict.Get(mls.ComponentID(policy.FrankingAgent))
	agent := new(mimi.FrankingAgent)
	if err := mls.Unmarshal(data, agent); err != nil {
		t.Fatal(err)
	}
	about := &mimi.FrankingContext{Sender: b.user("gateway").String(), Room: b.tested.room.String(), Accepted: a.Accepted}
	if err := a.Frank.Verify(mls.DefaultSuites(), conformSuite, agent.SignatureKey, about); err != nil {
		t.Error(err)
	}
	about.Accepted++
	if a.Frank.Verify(mls.DefaultSuites(), conformSuite, agent.SignatureKey, about) == nil {
		t.Error("a frank holds for another time")
	}
	for {
		f := b.told()[0]
		if f.Timestamp == a.Accepted {
			if f.Frank == nil || !bytes.Equal(f.Frank.Signature, a.Frank.Signature) {
				t.Errorf("fanned out with %+v", f.Frank)
			}
			return
		}
	}
}

// C23: only a room's hub may notify of it.
func conformHub(t *testing.T, b, c *rival) {
	b.follow()
	body := mimi.Encode(&mimi.FanoutMessage{Timestamp: 1, Message: b.message(nil).Message})
	q := request{endpoint: "notify", target: "mimi://b.test/r/own", body: body}
	code, _ := c.raw(q)
	wants(t, "of another's room", code, http.StatusForbidden)
	q.target = b.tested.room.String()
	code, _ = b.raw(q)
	wants(t, "of our own room", code, http.StatusForbidden)
	q.target = "mimi://b.test/r/own"
	for range 2 { // the second is the first again, to the octet
		code, _ = b.raw(q)
		wants(t, "of its own room", code, http.StatusCreated)
	}
	q.body = append(bytes.Clone(body), 0xff)
	code, _ = b.raw(q)
	wants(t, "with something after it", code, http.StatusBadRequest)
}

// C25: a GroupInfo is for those who may join, and for others a room is like none.
func conformGroupInfo(t *testing.T, b *rival) {
	a, _ := b.groupInfo(b.user("gateway"), b.tested.room.String())
	if a.Code != mimi.GroupInfoSuccess || a.Room != b.tested.room.String() {
		t.Errorf("%+v", a)
	}
	for what, in := range map[string]string{"a stranger": b.tested.room.String(), "a room that is not": "mimi://a.test/r/nothing"} {
		if a, _ := b.groupInfo(b.user("stranger"), in); a.Code != mimi.GroupInfoNotAuthorized || len(a.Encrypted.Ciphertext) != 0 {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

// C26: entries are received whatever is known of the two, and speak for the sender's users alone.
func conformConsentEntries(t *testing.T, b *rival) {
	entry := &mimi.ConsentEntry{Operation: mimi.ConsentCancel, Requester: b.user("bea").String(), Target: annUser}
	code, _ := b.raw(request{endpoint: "requestConsent", target: "a.test", body: mimi.Encode(entry)})
	wants(t, "to cancel what was never asked", code, http.StatusCreated)
	entry.Requester = "mimi://c.test/u/bea"
	code, _ = b.raw(request{endpoint: "requestConsent", target: "a.test", body: mimi.Encode(entry)})
	wants(t, "for a user of another provider", code, http.StatusForbidden)
	grant := &mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: annUser, Target: b.user("bea").String()}
	code, _ = b.raw(request{endpoint: "updateConsent", target: "a.test", body: mimi.Encode(grant)})
	wants(t, "to grant what was never asked", code, http.StatusCreated)
	grant.Target = "mimi://c.test/u/bea"
	code, _ = b.raw(request{endpoint: "updateConsent", target: "a.test", body: mimi.Encode(grant)})
	wants(t, "to grant for another", code, http.StatusForbidden)
}

// C27: who may not search learns nothing; who may, finds nobody that is not there.
func conformSearch(t *testing.T, b, c *rival) {
	q := &mimi.IdentifierRequest{Elements: []mimi.QueryElement{{Type: mimi.SearchNick, Value: "ann"}}}
	a := new(mimi.IdentifierResponse)
	b.ask("identifierQuery", "a.test", q, a)
	if a.Code != mimi.IdentifierForbidden || len(a.Users) != 0 {
		t.Errorf("who may not: %+v", a)
	}
	q.Elements = append(q.Elements, mimi.QueryElement{Type: mimi.SearchNick, Value: "nobody"})
	c.ask("identifierQuery", "a.test", q, a)
	if a.Code == mimi.IdentifierSuccess || len(a.Users) != 0 {
		t.Errorf("of two conditions one holds: %+v", a)
	}
	code, _ := c.raw(request{endpoint: "identifierQuery", target: "c.test", body: mimi.Encode(q)})
	wants(t, "another domain", code, http.StatusNotFound)
}

// C29: files are fetched from hosts of the rooms alone, by https alone.
func conformAssets(t *testing.T, b *rival) {
	for _, target := range []string{"https://elsewhere.example/f", "https://127.0.0.1/f", "http://files.b.test/f", "file:///etc/passwd", "https://169.254.169.254/latest"} {
		if code, _ := b.raw(request{method: http.MethodGet, endpoint: "proxyDownload", target: target}); code != http.StatusForbidden && code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, code)
		}
	}
}

// C31: a message of the gateway's in a group with safe_aad carries a SafeAAD, and its data is framed.
func conformSafeAAD(t *testing.T, b *rival, say func()) {
	b.follow()
	say()
	for {
		f := b.told()[0]
		step := b.take(f)
		if step == nil || step.Commit != nil || step.Application == nil {
			continue
		}
		if _, err := mls.ParseSafeAAD(f.Message.Private.AuthenticatedData, true); err != nil {
			t.Error(err)
		}
		if !bytes.HasPrefix(step.Application, append([]byte{24}, "application/mimi-content"...)) && step.Application[0] != 0 {
			t.Errorf("not framed: %x", step.Application[:8])
		}
		return
	}
}

// C33: what the gateway's key packages say that they support.
func conformCapabilities(t *testing.T, b *rival) {
	q, _ := b.keyRequest(annUser, b.tested.room.String())
	a := b.keyMaterial(q)
	if len(a.Clients) != 1 {
		t.Fatalf("%+v", a)
	}
	leaf := a.Clients[0].KeyPackage.LeafNode
	text := mls.Marshal(leaf.Capabilities)
	for what, code := range map[string][]byte{"app_data_dictionary": {0, 6}, "app_data_update": {0, 8}, "self_remove": {0, 10}} {
		if !bytes.Contains(text, code) {
			t.Errorf("%s is not among the capabilities", what)
		}
	}
	data, ok := leaf.Extensions.Get(mls.ExtAppDataDictionary)
	if !ok {
		t.Fatal("no dictionary")
	}
	for _, id := range [][]byte{{0, 1}, {0, 2}, {0, 3}} {
		if !bytes.Contains(data, id) {
			t.Errorf("component %x is missing", id)
		}
	}
}

// C42: a credential names a user of the provider that vouches for it.
func conformDomains(t *testing.T, b, c *rival) {
	b.follow()
	foreign := c.user("carl")
	j, err := b.client(foreign) // vouched for by b's authority
	if err == nil {
		q, _ := b.commit(mls.CommitOptions{Proposals: []mls.Proposal{
			b.listUpdate(room.Participant{User: foreign.String(), Role: policy.MemberRole}), {Type: mls.ProposalAdd, Add: &j.KeyPackage}}})
		if a := b.update(q); a.Code == mimi.UpdateSuccess {
			t.Errorf("a user of c.test, vouched for by b.test: %+v", a)
		}
		b.drop()
	}
	own, err := b.client(b.user("bruno"))
	if err != nil {
		t.Fatal(err)
	}
	b.accepted(mls.CommitOptions{Proposals: []mls.Proposal{
		b.listUpdate(room.Participant{User: b.user("bruno").String(), Role: policy.MemberRole}), {Type: mls.ProposalAdd, Add: &own.KeyPackage}}})
}

// C43: a repeated request gets its first answer, whatever has happened since, and has no second effect.
func conformRepeats(t *testing.T, b *rival) {
	b.follow()
	message := mimi.Encode(b.message(nil))
	q, step := b.commit(mls.CommitOptions{})
	requests := []request{
		{endpoint: "submitMessage", target: b.tested.room.String(), body: message},
		{endpoint: "update", target: b.tested.room.String(), body: mimi.Encode(q)},
	}
	var first [][]byte
	for _, r := range requests {
		code, body := b.raw(r)
		wants(t, r.endpoint, code, http.StatusOK)
		first = append(first, body)
	}
	if _, err := b.group.Merge(step); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		b.accepted(mls.CommitOptions{})
	}
	for i, r := range requests {
		code, body := b.raw(r)
		if wants(t, r.endpoint, code, http.StatusOK); !bytes.Equal(body, first[i]) {
			t.Errorf("%s again: %x, at first %x", r.endpoint, body, first[i])
		}
	}
	other := b.message(nil)
	if a := b.submit(other); a.Code != mimi.SubmitAccepted || bytes.Equal(mimi.Encode(a), first[0]) {
		t.Errorf("another message: %+v", a)
	}
}

// C13: who was removed sends nothing any more.
func conformRemoved(t *testing.T, b *rival) {
	b.follow()
	if a := b.submit(b.message(nil)); a.Code != mimi.SubmitAccepted {
		t.Errorf("before: %+v", a)
	}
	late, _ := b.commit(mls.CommitOptions{})
	b.drop()
	if err := b.tested.Remove(t.Context(), "club", b.user("gateway").String()); err != nil {
		t.Fatal(err)
	}
	for removed := false; !removed; {
		for _, f := range b.told() {
			removed = removed || f.Message.Public != nil
		}
	}
	if a := b.submit(b.message(nil)); a.Code == mimi.SubmitAccepted {
		t.Errorf("a message: %+v", a)
	}
	if a := b.update(late); a.Code == mimi.UpdateSuccess {
		t.Errorf("a commit: %+v", a)
	}
}
