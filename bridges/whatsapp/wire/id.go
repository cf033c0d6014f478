//go:build !nowhatsapp

// Package wire converts between WhatsApp's messages (waE2E.Message, what is inside the Signal encryption) and content: ids, text,
// what refers to other messages, files, places, polls. It does no I/O.
package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"go.mau.fi/whatsmeow/types"

	"mimigate/core/adapter"
)

// Group is the conversation of a group.
func Group(jid types.JID) adapter.Conversation { return adapter.Conversation(jid.ToNonAD().String()) }

// directSep stands between the two sides of a direct chat.
const directSep = "+"

// Direct is the conversation of two people, the same whichever of them reports it.
func Direct(a, b types.JID) adapter.Conversation {
	one, two := a.ToNonAD().String(), b.ToNonAD().String()
	if two < one {
		one, two = two, one
	}
	return adapter.Conversation(one + directSep + two)
}

// IsGroup reports whether a conversation is that of a group.
func IsGroup(c adapter.Conversation) bool {
	return strings.HasSuffix(string(c), "@"+types.GroupServer) && !strings.Contains(string(c), directSep)
}

// Chat returns where messages of a conversation go, seen from an account that has these addresses. It is false for a conversation
// that the account is no part of.
func Chat(c adapter.Conversation, own ...types.JID) (types.JID, bool) {
	if IsGroup(c) {
		jid, err := types.ParseJID(string(c))
		return jid, err == nil
	}
	one, two, ok := strings.Cut(string(c), directSep)
	if !ok {
		return types.JID{}, false
	}
	for _, me := range own {
		if me.IsEmpty() {
			continue
		}
		switch me.ToNonAD().String() {
		case one:
			return user(two)
		case two:
			return user(one)
		}
	}
	return types.JID{}, false
}

// PersonID is the id of a person with an address, whatever their device.
func PersonID(jid types.JID) adapter.PersonID { return adapter.PersonID(jid.ToNonAD().String()) }

// Address returns the address that is a person's id; false where it is none.
func Address(id adapter.PersonID) (types.JID, bool) { return user(string(id)) }

func user(s string) (types.JID, bool) {
	jid, err := types.ParseJID(s)
	if err != nil || jid.User == "" || jid.Device != 0 || jid.Server != types.DefaultUserServer && jid.Server != types.HiddenUserServer {
		return types.JID{}, false
	}
	return jid, true
}

// Best returns the address of a person that messages should use: a LID, if one is known. It is false for nobody of WhatsApp.
func Best(ids []adapter.PersonID) (types.JID, bool) {
	var found types.JID
	for _, id := range ids {
		jid, ok := Address(id)
		if ok && jid.Server == types.HiddenUserServer {
			return jid, true
		}
		if ok {
			found = jid
		}
	}
	return found, !found.IsEmpty()
}

// MessageID is the id of one native message that shows a delivery: always the same, so that people's phones know a repetition.
// Its form is that of WhatsApp Web: 3EB0 and 18 hexadecimal digits.
func MessageID(key string, part, piece int) types.MessageID {
	h := sha256.Sum256([]byte("mimigate message\x00" + key + "\x00" + strconv.Itoa(part) + "\x00" + strconv.Itoa(piece)))
	return "3EB0" + strings.ToUpper(hex.EncodeToString(h[:9]))
}
