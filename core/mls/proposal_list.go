package mls

import (
	"bytes"
	"fmt"
	"slices"
)

func badProposal(section, format string, args ...any) error {
	return fmt.Errorf("%w: %s (%s)", ErrProposal, fmt.Sprintf(format, args...), section)
}

// checkProposal validates one proposal on its own (RFC 9420 §12.1). signatures says whether key packages and
// leaf nodes have to be verified: not again for a proposal that was verified when it arrived.
func (g *PublicGroup) checkProposal(r *ResolvedProposal, rules *leafRules, signatures bool) error {
	p := r.Proposal
	if err := checkProposalSender(r); err != nil {
		return err
	}
	switch p.Type {
	case ProposalAdd:
		if !signatures {
			return rules.checkSupport(&p.Add.LeafNode)
		}
		if err := p.Add.check(rules); err != nil {
			return fmt.Errorf("add: %w", err)
		}
	case ProposalUpdate:
		return g.checkUpdate(r, rules, signatures)
	case ProposalRemove:
		if g.state.tree.leaf(p.Remove) == nil {
			return badProposal("RFC 9420 §12.1.3", "remove of blank leaf %d", p.Remove)
		}
	case ProposalPSK:
		return p.PSK.check(g.suite, g.state.context.Epoch)
	case ProposalReInit:
		if p.ReInit.Version < g.state.context.Version {
			return badProposal("RFC 9420 §12.1.5", "reinit to version %d", p.ReInit.Version)
		}
	case ProposalGroupContextExtensions:
		return g.checkContextExtensions(p.Extensions)
	}
	return nil
}

// checkProposalSender verifies that a sender of this type may make such a proposal (RFC 9420 §12.1.8,
// draft-ietf-mls-extensions-10 §7).
func checkProposalSender(r *ResolvedProposal) error {
	t := r.Proposal.Type
	switch r.Sender.Type {
	case SenderMember:
		if t != ProposalExternalInit { // RFC 9420 §12.1.6
			return nil
		}
	case SenderNewMemberCommit:
		return nil
	case SenderExternal:
		switch t {
		case ProposalAdd, ProposalRemove, ProposalPSK, ProposalReInit, ProposalGroupContextExtensions, ProposalAppDataUpdate, ProposalAppEphemeral:
			return nil
		}
	case SenderNewMemberProposal:
		if t == ProposalAdd {
			return nil
		}
	}
	return badProposal("RFC 9420 §12.1.8", "proposal type %#04x from sender type %d", t, r.Sender.Type)
}

func (g *PublicGroup) checkUpdate(r *ResolvedProposal, rules *leafRules, signatures bool) error {
	i, l := r.Sender.Leaf(), r.Proposal.Update
	old := g.state.tree.leaf(i)
	if old == nil {
		return badProposal("RFC 9420 §12.1.2", "update of blank leaf %d", i)
	}
	if !signatures {
		return rules.checkSupport(l)
	}
	if bytes.Equal(old.EncryptionKey, l.EncryptionKey) {
		return badProposal("RFC 9420 §7.3", "update keeps the encryption key")
	}
	if err := rules.check(l, SourceUpdate, true); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if err := g.cfg.verifySuccessor(old, l); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return l.verifySignature(g.suite, g.state.context.GroupID, i)
}

// checkContextExtensions validates the content of a GroupContextExtensions proposal as far as it can be without
// the rest of the commit (RFC 9420 §12.1.7).
func (g *PublicGroup) checkContextExtensions(xs Extensions) error {
	if err := xs.check(inGroupContext); err != nil {
		return fmt.Errorf("%w: %w", ErrProposal, err)
	}
	next := epochState{context: GroupContext{Extensions: xs}}
	if err := next.readExtensions(); err != nil {
		return fmt.Errorf("%w: %w (RFC 9420 §12.1.7)", ErrProposal, err)
	}
	if err := g.checkSenders(next.senders); err != nil {
		return fmt.Errorf("%w: %w", ErrProposal, err)
	}
	old := g.state.context.Extensions
	oldDict, _ := old.Get(ExtAppDataDictionary)
	newDict, _ := xs.Get(ExtAppDataDictionary)
	_, had := old.Get(ExtAppDataDictionary)
	_, has := xs.Get(ExtAppDataDictionary)
	guarded := g.state.context.requiresProposal(ProposalAppDataUpdate) || next.context.requiresProposal(ProposalAppDataUpdate)
	if guarded && (had != has || !bytes.Equal(oldDict, newDict)) {
		return badProposal("mls-extensions-10 §4.7", "group_context_extensions changes the app_data_dictionary")
	}
	return nil
}

// listRules checks the proposals of a commit against each other (RFC 9420 §12.2).
type listRules struct {
	committer Sender
	cfg       *Config
	touched   map[LeafIndex]ProposalType // leaves with an Update, Remove or SelfRemove
	counts    map[ProposalType]int
	psks      map[string]bool
	keys      map[string]bool // signature keys of Adds
	dataSeen  bool
}

func newListRules(committer Sender, cfg *Config) *listRules {
	return &listRules{committer: committer, cfg: cfg, touched: map[LeafIndex]ProposalType{}, counts: map[ProposalType]int{},
		psks: map[string]bool{}, keys: map[string]bool{}}
}

// checkList validates the list as a whole (RFC 9420 §12.2, draft-ietf-mls-extensions-10 §4).
func (g *PublicGroup) checkList(list []ResolvedProposal, committer Sender) error {
	r := newListRules(committer, g.cfg)
	for i := range list {
		if err := r.take(&list[i]); err != nil {
			return err
		}
	}
	if err := g.checkTypes(list, r.counts); err != nil {
		return err
	}
	external := committer.Type == SenderNewMemberCommit
	switch {
	case r.counts[ProposalReInit] > 0 && len(list) > 1:
		return badProposal("RFC 9420 §12.2", "reinit beside other proposals")
	case external && r.counts[ProposalExternalInit] != 1:
		return badProposal("RFC 9420 §12.2", "external commit with %d external_init proposals", r.counts[ProposalExternalInit])
	case !external && r.counts[ProposalExternalInit] > 0:
		return badProposal("RFC 9420 §12.2", "external_init in a member's commit")
	case external && r.counts[ProposalRemove] > 1:
		return badProposal("RFC 9420 §12.2", "external commit with more than one remove")
	case r.counts[ProposalGroupContextExtensions] > 1:
		return badProposal("RFC 9420 §12.2", "more than one group_context_extensions")
	}
	return nil
}

// checkTypes verifies that every member who will process the commit supports its types of proposal: not those whom it
// adds or removes (RFC 9420 §12.2).
func (g *PublicGroup) checkTypes(list []ResolvedProposal, counts map[ProposalType]int) error {
	for t, lacking := range g.state.usage.lacking {
		if counts[t] == 0 {
			continue
		}
		for i := range list {
			l := g.state.tree.leaf(list[i].removes())
			if l != nil && !l.Capabilities.supportsProposal(t) {
				lacking--
			}
		}
		if lacking > 0 {
			return badProposal("RFC 9420 §12.2", "%d members do not support proposal type %#04x", lacking, t)
		}
	}
	return nil
}

// removes returns the leaf that a proposal removes; none has the index 2^32-1.
func (p *ResolvedProposal) removes() LeafIndex {
	switch p.Proposal.Type {
	case ProposalRemove:
		return p.Proposal.Remove
	case ProposalSelfRemove:
		return p.Sender.Leaf()
	}
	return 1<<32 - 1
}

func (r *listRules) take(p *ResolvedProposal) error {
	t := p.Proposal.Type
	r.counts[t]++
	if r.committer.Type == SenderNewMemberCommit {
		if err := r.external(p); err != nil {
			return err
		}
	}
	switch t {
	case ProposalAdd:
		key := string(p.Proposal.Add.LeafNode.SignatureKey)
		if r.keys[key] {
			return badProposal("RFC 9420 §12.2", "two adds of the same client")
		}
		r.keys[key] = true
	case ProposalUpdate:
		if p.Sender == r.committer {
			return badProposal("RFC 9420 §12.2", "update by the committer")
		}
		return r.touch(p.Sender.Leaf(), t)
	case ProposalRemove:
		if r.committer.Type == SenderMember && p.Proposal.Remove == r.committer.Leaf() {
			return badProposal("RFC 9420 §12.2", "remove of the committer")
		}
		return r.touch(p.Proposal.Remove, t)
	case ProposalSelfRemove:
		if p.Ref == "" {
			return badProposal("mls-extensions-10 §6.3", "self_remove by value")
		}
		if p.Sender == r.committer {
			return badProposal("mls-extensions-10 §6.3", "self_remove of the committer")
		}
		return r.touch(p.Sender.Leaf(), t)
	case ProposalPSK:
		id := string(Marshal(p.Proposal.PSK))
		if r.psks[id] {
			return badProposal("RFC 9420 §12.2", "pre-shared key used twice")
		}
		r.psks[id] = true
	case ProposalAppDataUpdate:
		r.dataSeen = true
	case ProposalGroupContextExtensions:
		if r.dataSeen {
			return badProposal("mls-extensions-10 §4.7", "group_context_extensions after app_data_update")
		}
	}
	return nil
}

func (r *listRules) touch(i LeafIndex, t ProposalType) error {
	if other, ok := r.touched[i]; ok {
		return badProposal("RFC 9420 §12.2", "proposals %#04x and %#04x for leaf %d", other, t, i)
	}
	r.touched[i] = t
	return nil
}

// external checks what an external commit may contain (RFC 9420 §12.2, §12.4.3.2; draft-ietf-mls-extensions-10).
func (r *listRules) external(p *ResolvedProposal) error {
	t := p.Proposal.Type
	if p.Ref != "" && t != ProposalSelfRemove {
		return badProposal("RFC 9420 §12.4.3.2", "external commit refers to a proposal of type %#04x", t)
	}
	switch t {
	case ProposalExternalInit, ProposalRemove, ProposalPSK, ProposalSelfRemove, ProposalAppDataUpdate, ProposalAppEphemeral:
		return nil
	}
	if t == ProposalAdd && r.cfg.AllowExternalAdds {
		return nil
	}
	return badProposal("RFC 9420 §12.2", "proposal type %#04x in an external commit", t)
}

// pathRequired reports whether a commit of these proposals must have a path (RFC 9420 §12.4).
func pathRequired(list []ResolvedProposal) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(p ResolvedProposal) bool {
		switch p.Proposal.Type {
		case ProposalUpdate, ProposalRemove, ProposalExternalInit, ProposalGroupContextExtensions, ProposalSelfRemove:
			return true
		}
		return false
	})
}
