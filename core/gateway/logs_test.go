package gateway_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"mimigate/bridges/loopback/chat"
)

// recorder keeps all that the gateways of these tests log, at every level.
type recorder struct {
	mu   sync.Mutex
	text bytes.Buffer
}

var logged = &recorder{}

// minSecret is how long a text is at least that is searched for: shorter ones are in words of our own.
const minSecret = 5

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

// lacks fails the test where a text was logged.
func (r *recorder) lacks(t *testing.T, secret string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := bytes.Index(r.text.Bytes(), []byte(secret)); at >= 0 {
		from := bytes.LastIndexByte(r.text.Bytes()[:at], '\n') + 1
		t.Errorf("%q is in the log:\n%s", secret, r.text.Bytes()[from:at+len(secret)])
	}
}

// has reports whether a text was logged.
func (r *recorder) has(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Contains(r.text.Bytes(), []byte(text))
}

// TestLogsTellNothing: whatever happens to messages, the log has neither what they say, nor whom they are from, nor passwords or keys.
func TestLogsTellNothing(t *testing.T) {
	const phone, person, body, password = "+491701234567", "Quentin Xylander", "the zebra sings at dawn", "hunter2-of-the-account"
	n, drivers := newNetworks("left", "right")
	dir := t.TempDir()
	n["right"].Register("gateway", password)
	writeFile(t, dir, "password", password)
	c := load(t, dir, strings.Replace(twoNetworks, "network: right}", "network: right, password: \"file:password\"}", 1)+`
admins: {people: ["left:ann"]}
`, drivers)
	g := start(t, c, drivers)
	g.opened("left/room", "right/room")
	ok := must(t)
	zed, err := n["left"].Join("room", phone, person)
	if err != nil {
		t.Fatal(err)
	}
	bob := n.join(t, "right", "Bob")
	first := ok(zed.Say(body))
	there := n.sees(t, "right", person, body)
	ok(bob.Reply(there.ID, body+", you say"))
	n.sees(t, "left", "Bob", body+", you say")
	ok(bob.React(there.ID, "🦓"))
	ok(zed.Edit(first, body+" or dusk"))
	n.sees(t, "right", person, body+" or dusk")
	ok(zed.Delete(first))
	ok(zed.Say("!mimigate status " + body)) // no admin
	n["right"].Link("gateway").Refuse(&chat.Refusal{Code: chat.TooLarge})
	ok(zed.Say(body + ", again"))
	eventually(t, "the failure", func(ctx context.Context) error {
		if !logged.has("not delivered") {
			return fmt.Errorf("nothing failed")
		}
		return nil
	})
	n["right"].Link("gateway").Refuse(nil)
	n["right"].Link("gateway").Set(chat.Down)
	ok(zed.Say(body + ", away"))
	n["right"].Link("gateway").Set(chat.Up)
	n.sees(t, "right", person, body+", away")
	g.end()

	if !logged.has("msg=delivered message=") {
		t.Error("no step of a message is in the log, so that nothing was searched")
	}
	for _, secret := range []string{phone, strings.TrimPrefix(phone, "+"), person, body, password, "🦓"} {
		logged.lacks(t, secret)
	}
	key, err := os.ReadFile(c.Provider.MasterKey.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Fields(string(key)) {
		if len(line) < 32 {
			continue
		}
		logged.lacks(t, line)
		if raw, err := base64.StdEncoding.DecodeString(line); err == nil {
			logged.lacks(t, hex.EncodeToString(raw))
		}
	}
}
