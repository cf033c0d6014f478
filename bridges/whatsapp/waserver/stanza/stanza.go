//go:build !nowhatsapp

// Package stanza reads what may be missing from a stanza, or be of another type, and writes what every part of a WhatsApp
// server writes alike.
package stanza

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// Now is the time as stanzas write it: seconds since 1970.
func Now() int64 { return time.Now().Unix() }

// String reads an attribute; "" where it is missing or no string.
func String(n *waBinary.Node, key string) string {
	v, _ := n.Attrs[key].(string)
	return v
}

// Int reads a number; 0 where it is missing or none.
func Int(n *waBinary.Node, key string) int {
	v, _ := strconv.Atoi(String(n, key)) // the zero value is meant
	return v
}

// JID reads an attribute; empty where it is missing or no JID.
func JID(n *waBinary.Node, key string) types.JID {
	v, _ := n.Attrs[key].(types.JID)
	return v
}

// Data reads content that is octets or text; nil for other content.
func Data(n waBinary.Node) []byte {
	switch v := n.Content.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

// Child returns the first child under these tags, one below the other; without a tag where there is none.
func Child(n *waBinary.Node, tags ...string) waBinary.Node {
	c, ok := n.GetOptionalChildByTag(tags...)
	if !ok {
		return waBinary.Node{}
	}
	return c
}

// Has says whether there is a child under these tags.
func Has(n *waBinary.Node, tags ...string) bool {
	_, ok := n.GetOptionalChildByTag(tags...)
	return ok
}

// Error is the element that tells of an error: whatsmeow compares code and text (its errors.go).
func Error(code int) waBinary.Node {
	return waBinary.Node{Tag: "error", Attrs: waBinary.Attrs{"code": code, "text": reasons[code]}}
}

var reasons = map[int]string{
	400: "bad-request", 401: "not-authorized", 403: "forbidden", 404: "item-not-found", 405: "not-allowed", 406: "not-acceptable",
	409: "conflict", 410: "gone", 419: "resource-limit", 423: "locked", 429: "rate-overlimit", 500: "internal-server-error",
	501: "feature-not-implemented", 503: "service-unavailable",
}

// ListHash is how WhatsApp sums up a list of devices (whatsmeow: participantListHashV2).
func ListHash(devices []types.JID) string {
	var names []string
	for _, j := range devices {
		names = append(names, j.ADString())
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(strings.Join(names, "")))
	return "2:" + base64.RawStdEncoding.EncodeToString(sum[:6])
}
