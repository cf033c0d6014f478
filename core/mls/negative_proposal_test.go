package mls

import (
	"bytes"
	"testing"
)

// TestNegativeProposal is what makes a proposal invalid by itself (RFC 9420 §12.1). Each is refused by value in a commit and
// sent alone, and neither made by Commit nor by Propose.
func TestNegativeProposal(t *testing.T) {
	w := newTrio(t)
	psk := func(change func(*PreSharedKeyID)) Proposal {
		id := w.psk("known")
		change(id)
		return Proposal{Type: ProposalPSK, PSK: id}
	}
	resumption := func(usage ResumptionUsage) Proposal {
		return psk(func(id *PreSharedKeyID) {
			id.Type, id.Usage, id.GroupID, id.Epoch = PSKResumption, usage, w.alice.GroupID(), 1
		})
	}
	extensions := func(xs ...Extension) Proposal {
		return Proposal{Type: ProposalGroupContextExtensions, Extensions: xs}
	}
	senders := func(key []byte, name string) Proposal {
		return extensions(Extension{ExtExternalSenders, Marshal(ExternalSenders{{SignatureKey: key, Credential: BasicCredential([]byte(name))}})})
	}
	good := w.bob.leaves[1].signature.PublicBytes()
	for _, c := range []struct {
		name string
		p    Proposal
		want error
		text string
	}{
		{"valn0701 §12.1.3 blank leaf", Proposal{Type: ProposalRemove, Remove: 3}, ErrProposal, "blank leaf 3"},
		{"valn0701 §12.1.3 leaf outside the tree", Proposal{Type: ProposalRemove, Remove: 4}, ErrProposal, "blank leaf 4"},
		{"valn0701 §12.1.3 leaf whose node index overflows", Proposal{Type: ProposalRemove, Remove: 1<<31 | 2}, ErrProposal, "blank leaf"},
		{"valn0701 §12.1.3 last leaf there could be", Proposal{Type: ProposalRemove, Remove: 1<<32 - 1}, ErrProposal, "blank leaf"},
		{"valn0801 §12.1.4 usage reinit", resumption(UsageReInit), ErrPSK, "usage 2"},
		{"valn0802 §12.1.4 usage branch", resumption(UsageBranch), ErrPSK, "usage 3"},
		{"valn0803 ValSem401 §8.4 nonce too short", psk(func(id *PreSharedKeyID) { id.Nonce = id.Nonce[1:] }), ErrPSK, "nonce of 31 bytes"},
		{"valn0803 ValSem401 §8.4 nonce too long", psk(func(id *PreSharedKeyID) { id.Nonce = append(id.Nonce, 0) }), ErrPSK, "nonce of 33 bytes"},
		{"valn0901 §12.1.5 version", Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("g"), Version: 0, CipherSuite: 1}}, ErrProposal, "reinit to version 0"},
		{"§12.1.7 extension twice", extensions(Extension{0xf001, nil}, Extension{0xf001, nil}), ErrProposal, "listed twice"},
		{"§12.1.7 required_capabilities malformed", extensions(Extension{ExtRequiredCapabilities, []byte{1}}), ErrProposal, "required_capabilities"},
		{"§12.1.7 external_senders malformed", extensions(Extension{ExtExternalSenders, []byte{1}}), ErrProposal, "external_senders"},
		{"§12.1.7 dictionary malformed", extensions(Extension{ExtAppDataDictionary, []byte{1}}), ErrProposal, "app_data_dictionary"},
		{"§5.3.1 external sender refused", senders(good, "mallory"), ErrCredential, "mallory is not welcome"},
		{"§12.1.8.1 external sender without a key", senders([]byte("short"), "hub"), ErrKey, "external sender 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.TB = t
			w.refused((&forgery{by: w.alice, list: values(c.p)}).message(t), c.want, c.text, true)
			w.refused(forgeProposal(t, w.alice, c.p), c.want, c.text, true)
			w.declined(CommitOptions{Proposals: []Proposal{c.p}}, c.want, c.text)
			unchanged(t, "alice", w.alice, c.want, c.text, func() error {
				_, err := w.alice.Propose(0, c.p, Framing{}, false)
				return err
			})
		})
	}
	t.Run("valn0310 §12.1.6 external_init of a member", func(t *testing.T) {
		w.TB = t
		w.refused(forgeProposal(t, w.alice, *w.external("x").list[0].Proposal), ErrProposal, "from sender type 1", true)
	})
	t.Run("§12.1.2 update of a stranger", func(t *testing.T) {
		w.TB = t
		p := w.signAsCarol(w.carolsUpdate())
		w.refused(forgeProposal(t, w.carol, p, func(a *AuthenticatedContent) { a.Content.Sender.Index = 3 }), ErrNotMember, "leaf 3", true)
	})
}

// TestNegativeProposalList is RFC 9420 §12.2 and the lists of draft-ietf-mls-extensions-10: proposals that are fine one by one.
func TestNegativeProposalList(t *testing.T) {
	remove := func(i LeafIndex) Proposal { return Proposal{Type: ProposalRemove, Remove: i} }
	reinit := Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: X25519AES128}}
	appRemove := func(id ComponentID) Proposal {
		return Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: id, Operation: OpRemove}}
	}
	appReplace := func(id ComponentID, v string) Proposal {
		return Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: id, Operation: OpUpdate, Update: []byte(v)}}
	}
	ephemeral := func(id ComponentID, data string) Proposal {
		return Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{Component: id, Data: []byte(data)}}
	}
	dict := AppDataDictionary{}.With(testAppend, []byte("-")).With(testReplace, []byte("="))
	extensions := Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{dict.Extension()}}
	for _, c := range []struct {
		name string
		list func(w *trio) []ResolvedProposal
		want error
		text string
	}{
		{"valn0302 ValSem111 update by the committer, by value", func(w *trio) []ResolvedProposal {
			l := *w.alice.state.tree.leaf(0)
			_, l.EncryptionKey, _ = w.alice.suite.hpke.NewKeyPair(w.cfg.random())
			l.Source, l.ParentHash = SourceUpdate, nil
			if err := l.sign(w.alice.suite, w.alice.leaves[0].signature, w.alice.GroupID(), 0); err != nil {
				w.Fatal(err)
			}
			return values(Proposal{Type: ProposalUpdate, Update: &l})
		}, ErrProposal, "update by the committer"},
		{"valn0302 ValSem111 update by the committer, by reference", func(w *trio) []ResolvedProposal {
			return []ResolvedProposal{w.update(w.alice)}
		}, ErrProposal, "update by the committer"},
		{"valn0303 ValSem200 remove of the committer", func(w *trio) []ResolvedProposal { return values(remove(0)) }, ErrProposal, "remove of the committer"},
		{"valn0303 ValSem200 remove of the committer, by reference", func(w *trio) []ResolvedProposal {
			return []ResolvedProposal{w.send(w.bob, remove(0))}
		}, ErrProposal, "remove of the committer"},
		{"valn0304 ValSem107 two removes", func(w *trio) []ResolvedProposal { return values(remove(2), remove(2)) }, ErrProposal, "for leaf 2"},
		{"valn0304 update and remove", func(w *trio) []ResolvedProposal { return append(values(remove(2)), w.update(w.carol)) }, ErrProposal, "for leaf 2"},
		{"valn0304 two updates", func(w *trio) []ResolvedProposal { return []ResolvedProposal{w.update(w.carol), w.update(w.carol)} }, ErrProposal, "for leaf 2"},
		{"valn0305 two adds of a client", func(w *trio) []ResolvedProposal {
			template := testTemplate(w, w.cfg, X25519AES128, "dave")
			return values(adds(must(NewKeyPackage(w.cfg, X25519AES128, template))(w), must(NewKeyPackage(w.cfg, X25519AES128, template))(w))...)
		}, ErrProposal, "two adds of the same client"},
		{"valn0307 ValSem403 one PSK twice", func(w *trio) []ResolvedProposal {
			return values(Proposal{Type: ProposalPSK, PSK: w.psk("known")}, Proposal{Type: ProposalPSK, PSK: w.psk("known")})
		}, ErrProposal, "used twice"},
		{"valn0308 two group_context_extensions", func(w *trio) []ResolvedProposal { return values(extensions, extensions) }, ErrProposal, "more than one group_context_extensions"},
		{"valn0309 reinit beside an add", func(w *trio) []ResolvedProposal {
			return values(append(adds(newMember(w, w.cfg, X25519AES128, "dave")), reinit)...)
		}, ErrProposal, "reinit beside"},
		{"valn0309 two reinits", func(w *trio) []ResolvedProposal { return values(reinit, reinit) }, ErrProposal, "reinit beside"},
		{"valn0310 external_init", func(w *trio) []ResolvedProposal { return w.external("x").list }, ErrProposal, "external_init in a member's commit"},
		{"§12.2 one reference twice", func(w *trio) []ResolvedProposal {
			p := w.send(w.bob, appData("x"))
			return []ResolvedProposal{p, p}
		}, ErrProposal, "referred to twice"},
		{"§12.4.2 unknown reference", func(w *trio) []ResolvedProposal {
			p := w.send(w.bob, appData("x"))
			p.Ref = ProposalRef(flip([]byte(p.Ref)))
			return []ResolvedProposal{p}
		}, ErrUnknownProposal, ""},
		{"ext §6.3 self_remove by value", func(w *trio) []ResolvedProposal {
			return []ResolvedProposal{{Proposal: &Proposal{Type: ProposalSelfRemove}}}
		}, ErrProposal, "self_remove by value"},
		{"ext §6.3 self_remove of the committer", func(w *trio) []ResolvedProposal {
			return []ResolvedProposal{w.send(w.alice, Proposal{Type: ProposalSelfRemove})}
		}, ErrProposal, "self_remove of the committer"},
		{"ext §6.3 self_remove and remove", func(w *trio) []ResolvedProposal {
			return append(values(remove(2)), w.send(w.carol, Proposal{Type: ProposalSelfRemove}))
		}, ErrProposal, "for leaf 2"},
		{"ext §6.3 self_remove and update", func(w *trio) []ResolvedProposal {
			return []ResolvedProposal{w.update(w.carol), w.send(w.carol, Proposal{Type: ProposalSelfRemove})}
		}, ErrProposal, "for leaf 2"},
		{"ext §4.7 unknown component", func(w *trio) []ResolvedProposal { return values(appReplace(0x9999, "x")) }, ErrAppData, "unknown component"},
		{"ext §4.7 update the application refuses", func(w *trio) []ResolvedProposal { return values(appReplace(testReplace, "bad")) }, ErrAppData, "one good value"},
		{"ext §4.7 updates the application refuses together", func(w *trio) []ResolvedProposal {
			return values(appReplace(testReplace, "1"), appReplace(testReplace, "2"))
		}, ErrAppData, "one good value"},
		{"ext §4.7 remove of nothing", func(w *trio) []ResolvedProposal { return values(appRemove(0x8003)) }, ErrAppData, "no data to remove"},
		{"ext §4.7 remove the application refuses", func(w *trio) []ResolvedProposal { return values(appRemove(testAppend)) }, ErrAppData, "cannot be removed"},
		{"ext §4.7 two removes", func(w *trio) []ResolvedProposal { return values(appRemove(testReplace), appRemove(testReplace)) }, ErrAppData, "beside another change"},
		{"ext §4.7 update then remove", func(w *trio) []ResolvedProposal { return values(appReplace(testReplace, "x"), appRemove(testReplace)) }, ErrAppData, "beside another change"},
		{"ext §4.7 remove then update", func(w *trio) []ResolvedProposal { return values(appRemove(testReplace), appReplace(testReplace, "x")) }, ErrAppData, "beside another change"},
		{"ext §4.7 context extensions after an update", func(w *trio) []ResolvedProposal { return values(appData("x"), extensions) }, ErrProposal, "group_context_extensions after"},
		{"ext §4.8 unknown component of app_ephemeral", func(w *trio) []ResolvedProposal { return values(ephemeral(0x9999, "x")) }, ErrAppData, "not for us"},
		{"ext §4.8 app_ephemeral the application refuses", func(w *trio) []ResolvedProposal { return values(ephemeral(testAppend, "")) }, ErrAppData, "not for us"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTrio(t, dict.Extension())
			list := c.list(w)
			data := (&forgery{by: w.alice, list: list}).message(t)
			pending := w.bob.Proposals()
			unchanged(t, "bob", w.bob, c.want, c.text, func() error { _, err := w.bob.Process(must(ParseMessage(data))(t), Arrival{}); return err })
			unchanged(t, "hub", w.hub, c.want, c.text, func() error { _, err := w.hub.Process(must(ParseMessage(data))(t)); return err })
			if len(pending) > 0 {
				w.deliver(commit(t, w.alice, 0, CommitOptions{}).Message, w.alice) // she chooses what goes together
				if len(w.bob.leaves) > 0 {
					sameEpoch(t, w.alice, w.bob)
				}
				return
			}
			if c.text != "group_context_extensions after" { // Commit sorts
				w.declined(CommitOptions{Proposals: proposals(list)}, c.want, c.text)
			}
			w.alive()
		})
	}
}

// TestNegativeUnsupportedProposal is RFC 9420 §12.2, valn0311: a non-default proposal type that somebody who has to process
// the commit does not support.
func TestNegativeUnsupportedProposal(t *testing.T) {
	caps := DefaultCapabilities(X25519AES128)
	types := caps.Proposals
	for _, typ := range types {
		w := newTrio(t)
		plain := testTemplate(t, w.cfg, X25519AES128, "dave")
		plain.Capabilities = DefaultCapabilities(X25519AES128)
		plain.Capabilities.Proposals = without(types, typ)
		dave := must(NewKeyPackage(w.cfg, X25519AES128, plain))(t)
		var p ResolvedProposal
		propose := func() {
			switch typ {
			case ProposalAppDataUpdate:
				p = values(appData("x"))[0]
			case ProposalAppEphemeral:
				p = values(Proposal{Type: typ, AppEphemeral: &AppEphemeral{Component: testAppend, Data: []byte("x")}})[0]
			case ProposalSelfRemove:
				p = w.send(w.carol, Proposal{Type: typ})
			}
		}
		propose()
		if typ != ProposalSelfRemove { // a member that the commit adds need not support it
			must(w.bob.Process(must(ParseMessage((&forgery{by: w.alice, list: append(values(adds(dave)...), p)}).message(t)))(t), Arrival{}))(t)
		}
		w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: adds(dave), NoPending: true}).Message, w.alice)
		propose()
		data := (&forgery{by: w.alice, list: []ResolvedProposal{p}}).message(t)
		w.refused(data, ErrProposal, "do not support proposal type", true)
		propose()
		if p.Ref == "" {
			w.declined(CommitOptions{Proposals: []Proposal{*p.Proposal}}, ErrProposal, "do not support")
		}
		reloaded := must(LoadGroup(w.cfg, stored(w.bob).records()))(t) // the count survives
		wrong(t, "reloaded", reloaded.checkList([]ResolvedProposal{p}, Sender{Type: SenderMember}), ErrProposal, "do not support proposal type")
		// neither need one that it removes
		list := append(values(Proposal{Type: ProposalRemove, Remove: 3}), p)
		must(w.bob.Process(must(ParseMessage((&forgery{by: w.alice, list: list}).message(t)))(t), Arrival{}))(t)
		must(w.hub.Process(must(ParseMessage((&forgery{by: w.alice, list: list}).message(t)))(t)))(t)
	}
}

// TestNegativeContextExtensions is RFC 9420 §12.1.7 and §13.4 (valn1001), and the guard of mls-extensions-10 §4.7.
func TestNegativeContextExtensions(t *testing.T) {
	required := func(r RequiredCapabilities, more ...Extension) Proposal {
		return Proposal{Type: ProposalGroupContextExtensions, Extensions: append(Extensions{{ExtRequiredCapabilities, Marshal(&r)}}, more...)}
	}
	odd := RequiredCapabilities{Proposals: []ProposalType{oddProposal}}
	t.Run("valn1001 a member lacks a capability", func(t *testing.T) {
		w := newTrio(t)
		for _, r := range []RequiredCapabilities{odd, {Extensions: []ExtensionType{0xf001}}, {Credentials: []CredentialType{9}}} {
			p := required(r)
			w.refused((&forgery{by: w.alice, list: values(p)}).message(t), ErrLeafNode, "no support for required", true)
			w.declined(CommitOptions{Proposals: []Proposal{p}}, ErrLeafNode, "no support for required")
		}
	})
	t.Run("valn1001 only those who stay", func(t *testing.T) {
		cfg := suspiciousConfig()
		w := newTrioOf(t, cfg, demandingCapabilities(), CommitOptions{})
		dave := newMember(t, cfg, X25519AES128, "dave") // lacks what is going to be required
		p := required(odd)
		w.refused((&forgery{by: w.alice, list: values(append(adds(dave), p)...)}).message(t), ErrLeafNode, "required proposal", true)
		w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: adds(dave)}).Message, w.alice)
		w.refused((&forgery{by: w.alice, list: values(p)}).message(t), ErrLeafNode, "required proposal", true)
		w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{{Type: ProposalRemove, Remove: 3}, p}}).Message, w.alice)
		w.alive()
	})
	t.Run("§13.4 an extension a member does not support", func(t *testing.T) {
		w := newTrio(t)
		p := Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{{0xf00f, nil}}}
		w.refused((&forgery{by: w.alice, list: values(p)}).message(t), ErrLeafNode, "GroupContext extension 0xf00f", true)
		w.declined(CommitOptions{Proposals: []Proposal{p}}, ErrLeafNode, "GroupContext extension 0xf00f")
	})
	t.Run("ext §4.6 no app_data_dictionary for those who do not know it", func(t *testing.T) {
		caps := DefaultCapabilities(X25519AES128)
		caps.Extensions = nil
		cfg := suspiciousConfig()
		member := func(name string) *JoinSecrets {
			template := testTemplate(t, cfg, X25519AES128, name)
			template.Capabilities, template.Extensions = caps, nil
			return must(NewKeyPackage(cfg, X25519AES128, template))(t)
		}
		g := must(NewGroup(cfg, []byte("g"), nil, member("alice")))(t)
		unchanged(t, "alice", g, ErrLeafNode, "GroupContext extension 0x0006", func() error {
			_, err := g.Commit(0, CommitOptions{Proposals: []Proposal{appData("x")}})
			return err
		})
	})
	adu := RequiredCapabilities{Proposals: []ProposalType{ProposalAppDataUpdate}}
	dict := AppDataDictionary{}.With(testAppend, []byte("-"))
	for _, c := range []struct {
		name string
		old  Extensions
		next Extensions
	}{
		{"changed", Extensions{{ExtRequiredCapabilities, Marshal(&adu)}, dict.Extension()}, required(adu, dict.With(testAppend, []byte("+")).Extension()).Extensions},
		{"dropped", Extensions{{ExtRequiredCapabilities, Marshal(&adu)}, dict.Extension()}, required(adu).Extensions},
		{"added", Extensions{{ExtRequiredCapabilities, Marshal(&adu)}}, required(adu, dict.Extension()).Extensions},
		{"changed while the guard goes", Extensions{{ExtRequiredCapabilities, Marshal(&adu)}, dict.Extension()}, Extensions{dict.With(testAppend, nil).Extension()}},
		{"changed while the guard comes", Extensions{dict.Extension()}, required(adu, dict.With(testAppend, nil).Extension()).Extensions},
	} {
		t.Run("ext §4.7 guarded dictionary "+c.name, func(t *testing.T) {
			w := newTrio(t, c.old...)
			p := Proposal{Type: ProposalGroupContextExtensions, Extensions: c.next}
			w.refused((&forgery{by: w.alice, list: values(p)}).message(t), ErrProposal, "changes the app_data_dictionary", true)
			w.refused(forgeProposal(t, w.alice, p), ErrProposal, "changes the app_data_dictionary", true)
			w.declined(CommitOptions{Proposals: []Proposal{p}}, ErrProposal, "changes the app_data_dictionary")
		})
	}
	t.Run("ext §4.7 unguarded or carried over", func(t *testing.T) {
		w := newTrio(t, dict.Extension())
		w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{required(adu, dict.Extension())}}).Message, w.alice)
		w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{required(adu, dict.Extension(), Extension{ExtExternalSenders, []byte{0}}), appData("+")}}).Message, w.alice)
		if data, _ := must(w.bob.state.context.Dictionary())(t).Get(testAppend); !bytes.Equal(data, []byte("-+")) {
			t.Errorf("component is %q", data)
		}
		w = newTrio(t, dict.Extension())
		w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{{Type: ProposalGroupContextExtensions, Extensions: Extensions{dict.With(testAppend, []byte("!")).Extension()}}}}).Message, w.alice)
		w.alive()
	})
	t.Run("ext §5 app_components that a member lacks", func(t *testing.T) {
		w := newTrio(t, dict.Extension())
		p := Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: ComponentAppComponents, Operation: OpUpdate, Update: Marshal(ComponentsList{0x9999})}}
		w.refused((&forgery{by: w.alice, list: values(p)}).message(t), ErrLeafNode, "required component 0x9999", true)
		w.declined(CommitOptions{Proposals: []Proposal{p}}, ErrLeafNode, "required component 0x9999")
		p.AppDataUpdate.Update = []byte{1}
		w.declined(CommitOptions{Proposals: []Proposal{p}}, ErrProposal, "component 0x0001")
	})
}

// TestNegativeExternalProposal is RFC 9420 §6.1 and §12.1.8 (valn1501 to valn1506; ValSem112).
func TestNegativeExternalProposal(t *testing.T) {
	cfg := suspiciousConfig()
	hub := must(cfg.Suites.NewSignatureKey(X25519AES128, cfg.random()))(t)
	w := newTrio(t, Extension{ExtExternalSenders, Marshal(ExternalSenders{{SignatureKey: hub.PublicBytes(), Credential: BasicCredential([]byte("hub"))}})})
	from := func(s Sender, key *SignatureKey, p Proposal) []byte {
		a := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{GroupID: w.alice.GroupID(), Epoch: w.alice.Epoch(),
			Sender: s, ContentType: ContentProposal, Proposal: &p}}
		if err := a.sign(w.alice.suite, key, w.alice.state.contextBytes); err != nil {
			t.Fatal(err)
		}
		return Marshal(publicMessage(a))
	}
	external := Sender{Type: SenderExternal}
	joiner := newMember(t, cfg, X25519AES128, "dave")
	remove := Proposal{Type: ProposalRemove, Remove: 2}
	for _, c := range []struct {
		name string
		data func() []byte
		want error
		text string
	}{
		{"valn1502 update", func() []byte { return from(external, hub, w.signAsCarol(w.carolsUpdate())) }, ErrProposal, "from sender type 2"},
		{"valn1502 external_init", func() []byte { return from(external, hub, *w.external("x").list[0].Proposal) }, ErrProposal, "from sender type 2"},
		{"valn1502 ext §6.3 self_remove", func() []byte { return from(external, hub, Proposal{Type: ProposalSelfRemove}) }, ErrProposal, "from sender type 2"},
		{"valn1502 invalid remove", func() []byte { return from(external, hub, Proposal{Type: ProposalRemove, Remove: 9}) }, ErrProposal, "blank leaf 9"},
		{"valn1504 remove by a newcomer", func() []byte { return from(Sender{Type: SenderNewMemberProposal}, joiner.Signature, remove) }, ErrProposal, "only its own Add"},
		{"valn1506 index not listed", func() []byte { return from(Sender{Type: SenderExternal, Index: 1}, hub, remove) }, ErrProposal, "external sender 1 is not listed"},
		{"valn1301 wrong key", func() []byte { return from(external, joiner.Signature, remove) }, ErrSignature, "FramedContentTBS"},
		{"valn1301 newcomer's add signed by another", func() []byte { return from(Sender{Type: SenderNewMemberProposal}, hub, adds(joiner)[0]) }, ErrSignature, "FramedContentTBS"},
		{"valn0501 newcomer's bad key package", func() []byte {
			j := forgeKeyPackage(t, cfg, testTemplate(t, cfg, X25519AES128, "mallory"), nil, nil)
			return from(Sender{Type: SenderNewMemberProposal}, j.Signature, adds(j)[0])
		}, ErrCredential, "mallory"},
		{"valn0410 proposal of new_member_commit", func() []byte { return from(Sender{Type: SenderNewMemberCommit}, joiner.Signature, adds(joiner)[0]) }, ErrProposal, "new_member_commit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.TB = t
			w.refused(c.data(), c.want, c.text, true)
		})
	}
	t.Run("valn1506 no external_senders", func(t *testing.T) {
		bare := newTrio(t)
		p := remove
		a := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{GroupID: bare.alice.GroupID(), Epoch: bare.alice.Epoch(),
			Sender: external, ContentType: ContentProposal, Proposal: &p}}
		if err := a.sign(bare.alice.suite, hub, nil); err != nil {
			t.Fatal(err)
		}
		bare.refused(Marshal(publicMessage(a)), ErrProposal, "external sender 0 is not listed", true)
	})
	t.Run("made", func(t *testing.T) {
		unchanged(t, "hub", w.hub, ErrProposal, "from sender type 2", func() error {
			_, err := w.hub.ExternalProposal(0, hub, Proposal{Type: ProposalSelfRemove}, Framing{})
			return err
		})
		unchanged(t, "hub", w.hub, ErrSafeAAD, "", func() error {
			_, err := w.hub.ExternalProposal(0, hub, remove, Framing{SafeAAD: SafeAAD{}})
			return err
		})
	})
}
