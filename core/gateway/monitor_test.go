package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/bridges"
	"mimigate/bridges/loopback/chat"
	"mimigate/core/gateway"
	"mimigate/core/gateway/letters"
)

// freePort returns a port of this machine that nobody listens on now.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// get asks for a page.
func get(ctx context.Context, url string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// TestMonitor: metrics, health and readiness, where configuration asks for them.
func TestMonitor(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	url := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	text := strings.Replace(twoNetworks, "store: store", fmt.Sprintf("store: store, monitor: %q", url), 1)
	text = strings.Replace(text, "policies:", "  - {id: broken, network: right, mode: other}\npolicies:", 1)
	g := start(t, load(t, t.TempDir(), text, drivers), drivers)
	g.opened("left/room", "right/room")
	ann := n.join(t, "left", "Ann")
	must(t)(ann.Say("Hello"))
	n.sees(t, "right", "Ann", "Hello")
	for _, path := range []string{"/healthz", "/readyz"} {
		status, body, err := get(t.Context(), "http://"+url+path)
		var h gateway.Health
		if err != nil || status != http.StatusOK || json.Unmarshal([]byte(body), &h) != nil || !h.Ready || len(h.Accounts) != 3 || h.Accounts[2].State != "rejected" {
			t.Errorf("%s: %d %s, %v", path, status, body, err)
		}
	}
	eventually(t, "metrics", func(ctx context.Context) error {
		_, body, err := get(ctx, "http://"+url+"/metrics")
		if err != nil {
			return err
		}
		for _, line := range []string{`mimigate_account_up{account="broken",network="right"} 0`, `mimigate_account_up{account="left",network="left"} 1`,
			`mimigate_messages_delivered_total{account="right",network="right"} 1`, `mimigate_hub_messages_total{outcome="accepted"} 1`, "mimigate_rooms 1"} {
			if !strings.Contains(body, line+"\n") {
				return fmt.Errorf("no line %s in\n%s", line, body)
			}
		}
		if !strings.Contains(body, `mimigate_hub_updates_total{outcome="accepted"}`) || !strings.Contains(body, "mimigate_store_batch_units_count") {
			return fmt.Errorf("no changes or batches in\n%s", body)
		}
		return nil
	})
	if status, _, err := get(t.Context(), "http://"+url+"/status"); err != nil || status != http.StatusNotFound {
		t.Errorf("commands are served to all: %d, %v", status, err)
	}
}

// TestAdminsTold: an account that cannot be used at all, or connects for too long, is told in the admins' chat, and that it works again.
func TestAdminsTold(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	n["left"].Create("admins", "Admins")
	admin, err := n["left"].Join("admins", "root", "Root")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(twoNetworks, "policies:", "  - {id: broken, network: right, mode: other}\nadmins: {tell: left/admins}\npolicies:", 1)
	start(t, load(t, t.TempDir(), text, drivers), drivers)
	told := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := n["left"].Wait(ctx, func() bool { return strings.Contains(n["left"].Transcript("admins"), what) }); err != nil {
			t.Fatalf("not told %q:\n%s", what, n["left"].Transcript("admins"))
		}
	}
	told("Account broken: rejected.")
	if admin.User() != "root" {
		t.Error(admin.User())
	}
}

// lettersOf waits until so many letters are there.
func (r *running) lettersOf(account string, dead bool, want int) (list []letters.Letter) {
	r.t.Helper()
	eventually(r.t, "letters", func(ctx context.Context) (err error) {
		c, err := gateway.Dial(ctx, r.dir)
		if err != nil {
			return err
		}
		defer c.Close()
		if list, err = c.Queue(ctx, account, dead); err == nil && len(list) != want {
			err = fmt.Errorf("%d letters, want %d: %+v", len(list), want, list)
		}
		return err
	})
	return list
}

// TestLetters: what waits, what failed and what became of a message is shown; what failed can be tried again, and what waits dropped.
func TestLetters(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	c := load(t, t.TempDir(), twoNetworks, drivers)
	g := start(t, c, drivers)
	g.dir = c.Provider.Files
	g.opened("left/room", "right/room")
	ann, ok := n.join(t, "left", "Ann"), must(t)
	n.members(t, "right", "Ann")
	link := n["right"].Link("gateway")
	link.Refuse(&chat.Refusal{Code: chat.TooLarge})
	native := ok(ann.Say("refused at first"))
	dead := g.lettersOf("right", true, 1)[0]
	if dead.State != "failed" || !strings.Contains(dead.Reason, "too large") || dead.Attempts != 1 || dead.Title != "Room of right" || dead.What != "message" {
		t.Errorf("%+v", dead)
	}
	client, err := gateway.Dial(t.Context(), g.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := t.Context()
	trace, err := client.Trace(ctx, native)
	if err != nil || len(trace) == 0 {
		t.Fatalf("%+v, %v", trace, err)
	}
	if tr := trace[0]; tr.Message != dead.Message || tr.From != "left room" || tr.Accepted.IsZero() || !tr.Body || len(tr.To) != 1 || tr.To[0].ID != dead.ID {
		t.Errorf("%+v", tr)
	}
	n.wait(t, "left", "word to the sender", func(all []bridges.ChatMessage) bool {
		return slices.ContainsFunc(all, func(m bridges.ChatMessage) bool {
			return strings.Contains(m.Text, "was not delivered in") && strings.Contains(m.Text, "too large")
		})
	})
	link.Refuse(nil)
	if count, err := client.Retry(ctx, dead.ID, ""); err != nil || count != 1 {
		t.Errorf("%d, %v", count, err)
	}
	n.sees(t, "right", "Ann", "refused at first")
	eventually(t, "the trace", func(ctx context.Context) error {
		trace, err := client.Trace(ctx, dead.Message)
		if err == nil && (len(trace) != 1 || trace[0].To[0].State != "sent" || len(trace[0].To[0].Native) != 1 || trace[0].Body) {
			err = fmt.Errorf("%+v", trace)
		}
		return err
	})

	link.Refuse(&chat.Refusal{Code: chat.Busy, After: time.Hour})
	ok(ann.Say("never shown"))
	ok(ann.Say("shown later"))
	eventually(t, "an attempt", func(ctx context.Context) error {
		if l := g.lettersOf("", false, 2); l[0].Attempts == 0 || l[0].Due.IsZero() {
			return fmt.Errorf("%+v", l[0])
		}
		return nil
	})
	link.Refuse(nil)
	first := g.lettersOf("right", false, 2)[0]
	if count, err := client.Drop(ctx, first.ID, ""); err != nil || count != 1 {
		t.Errorf("%d, %v", count, err)
	}
	n.sees(t, "right", "Ann", "shown later")
	if strings.Contains(n["right"].Transcript("room"), "never shown") {
		t.Error("what was dropped is shown")
	}
	for _, err := range []error{second(client.Retry(ctx, "", "")), second(client.Drop(ctx, "nothing", "")), second(client.Retry(ctx, first.ID, "")),
		second(client.Trace(ctx, "nothing"))} {
		if err == nil {
			t.Error("no error")
		}
	}
}

func second[T any](_ T, err error) error { return err }
