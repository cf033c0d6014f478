//go:build !nowhatsapp

package waserver

import (
	"fmt"
	"testing"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/waserver/stanza"
)

// Direction is which way a stanza goes.
type Direction int

// The directions.
const (
	FromClient Direction = iota
	ToClient
)

// Do is what a rule does with a stanza.
type Do int

// What a rule can do. "Passed on" means: handled, where it comes from the client; sent, where it goes there.
const (
	Pass     Do = iota // nothing: it is passed on
	Lose               // it is not passed on
	Cut                // the connection is broken off instead
	CutAfter           // it is passed on, and the connection ended
	Twice              // it is passed on twice
	Hold               // it is passed on when Release is called
	Reject             // FromClient: it is answered with the error Code and not passed on
	Spoil              // ToClient: one bit of each ciphertext in it is turned over, so that it cannot be decrypted
	Withhold           // ToClient: in place of its ciphertexts it says that it is to be viewed once, on the phone
)

// Rule is what happens to some stanzas between the server and the linked devices of a number; phones are spared.
//
//	Rule{Number: n, Way: ToClient, Match: Ack, Skip: 2, Times: 1, Do: Cut}        // lose the connection before the 3rd ack
//	Rule{Number: n, Way: ToClient, Match: Ack, Do: Hold}                          // hold acks
//	Rule{Number: n, Way: ToClient, Match: Message, Do: Twice}                     // deliver twice
//	Rule{Number: n, Way: FromClient, Match: Message, Skip: 20, Do: Reject, Code: 429}
type Rule struct {
	Number string
	Way    Direction
	Match  func(*waBinary.Node) bool // nil: every stanza
	Skip   int                       // so many matches pass first
	Times  int                       // then so many are treated; 0: all
	Do     Do
	Code   int // of Reject
}

// Message matches messages.
func Message(n *waBinary.Node) bool { return n.Tag == "message" }

// Ack matches acknowledgements of messages: the server's of what a client sends, and a client's of what it gets, <ack> or
// the receipt of delivery that stands for it; not the receipts of others that the server passes on.
func Ack(n *waBinary.Node) bool {
	if n.Tag == "receipt" {
		return delivery(stanza.String(n, "type")) && !stanza.JID(n, "to").IsEmpty()
	}
	return n.Tag == "ack" && stanza.String(n, "class") == "message"
}

// Request matches requests and answers (<iq>); xmlns "" stands for all requests.
func Request(xmlns string) func(*waBinary.Node) bool {
	return func(n *waBinary.Node) bool {
		return n.Tag == "iq" && (xmlns == "" || stanza.String(n, "xmlns") == xmlns)
	}
}

// script is a rule at work.
type script struct {
	Rule
	seen int
}

// heldStanza is one that waits for Release.
type heldStanza struct {
	session *session
	pass    func()
}

// Script adds a rule, which is asked after those added before; the first that treats a stanza decides. The returned
// function removes it.
func (s *Server) Script(r Rule) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &script{Rule: r}
	s.rules = append(s.rules, added)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, x := range s.rules {
			if x == added {
				s.rules = append(s.rules[:i:i], s.rules[i+1:]...)
				return
			}
		}
	}
}

// Release passes on what rules have held, in order; what was held for a connection that has ended since is lost.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.held
	s.held = nil
	for _, h := range held {
		if !h.session.ended {
			h.pass()
		}
	}
}

// rule says what to do with a stanza. The server is locked.
func (s *Server) rule(way Direction, d *device, n *waBinary.Node) (do Do, code int) {
	if d == nil || d.id == 0 {
		return Pass, 0
	}
	for _, r := range s.rules {
		if r.Way != way || r.Number != d.account.PN.User || r.Match != nil && !r.Match(n) {
			continue
		}
		r.seen++
		if r.seen > r.Skip && (r.Times == 0 || r.seen <= r.Skip+r.Times) {
			s.change()
			return r.Do, r.Code
		}
	}
	return Pass, 0
}

// WaitHeld waits until rules hold at least n stanzas.
func (s *Server) WaitHeld(t testing.TB, n int) {
	t.Helper()
	s.wait(t, fmt.Sprintf("%d stanzas are held", n), func() bool { return len(s.held) >= n })
}

// send sends the client a stanza, as the rules let it. The server is locked.
func (ss *session) send(n waBinary.Node) {
	s := ss.server
	switch do, _ := s.rule(ToClient, ss.dev, &n); do {
	case Lose:
	case Cut:
		ss.enqueue(outgoing{})
	case CutAfter:
		ss.push(&n)
		ss.end()
	case Twice:
		ss.push(&n)
		ss.push(&n)
	case Hold:
		s.held = append(s.held, heldStanza{ss, func() { ss.push(&n) }})
		s.change()
	case Spoil:
		n.Content = spoiled(n.GetChildren())
		ss.push(&n)
	case Withhold:
		n.Content = []waBinary.Node{{Tag: "unavailable", Attrs: waBinary.Attrs{"type": "view_once"}}}
		ss.push(&n)
	default:
		ss.push(&n)
	}
}

// spoiled copies the children of a message with one bit of each ciphertext turned over.
func spoiled(children []waBinary.Node) []waBinary.Node {
	var list []waBinary.Node
	for _, c := range children {
		if text, ok := c.Content.([]byte); ok && c.Tag == "enc" && len(text) > 0 {
			text = append([]byte(nil), text...)
			text[len(text)/2] ^= 1
			c.Content = text
		}
		list = append(list, c)
	}
	return list
}

// delivery says whether a receipt of this type says that a device has a message, and so acknowledges it.
func delivery(kind string) bool {
	switch types.ReceiptType(kind) {
	case types.ReceiptTypeDelivered, types.ReceiptTypeInactive, types.ReceiptTypeSender, types.ReceiptTypePeerMsg:
		return true
	}
	return false
}
