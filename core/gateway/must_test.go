package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/adapter/adaptertest/servers"
)

const (
	senders = 20
	// volumePatience is how long a thousand messages may take.
	volumePatience = 6 * time.Minute
)

var messages = flag.Int("volume", 1000, "messages TestVolume sends each way")

// TestVolume sends many messages each way, by twenty people on each side, while the gateway is killed and restarted, and both servers
// are restarted: all arrive once, in the room's order, under the right names.
func TestVolume(t *testing.T) {
	w := newWorld(t)
	w.start()
	v := newVolume(w)
	each := *messages / senders / 5

	v.both(1, func() {})
	v.both(each-1, func() { // the gateway is killed while both sides talk
		v.arrived(senders * each / 4)
		w.gateway.Kill()
		w.gateway.Restart()
	})
	v.both(each, func() { w.gateway.Restart() })
	// Synapse forgets what it has not yet offered to an application service when it ends. We accept what we are offered (design §5).
	v.wait("what was said in Matrix", v.offered)
	v.fromXMPP(each, func() { w.synapse.Restart() }) // while the gateway writes there
	v.fromMatrix(each, func() { w.prosody.Restart() })
	v.rejoin()
	v.both(2*each, func() {})
	v.check()
}

// volume is twenty people on each side.
type volume struct {
	*world
	matrixPeople []servers.User
	xmppPeople   []*servers.XMPPClient
	sentMatrix   []int // by each so far
	sentXMPP     []int
	// turn holds who may send to Matrix, one at a time: what is sent at once has no order there (its place in the room's history is
	// not the place it is offered at), and with twenty branches of history Synapse takes people for absent who have just joined.
	turn chan struct{}
}

func personName(side string, i int) string { return fmt.Sprintf("%s %02d", side, i) }

func newVolume(w *world) *volume {
	v := &volume{world: w, sentMatrix: make([]int, senders), sentXMPP: make([]int, senders), turn: make(chan struct{}, 1)}
	for i := range senders {
		u := w.synapse.User(w.t, fmt.Sprintf("m%02d", i))
		v.put(u, "profile/"+url.PathEscape(u.ID)+"/displayname", map[string]string{"displayname": personName("Matrix", i)})
		v.request(http.MethodPost, u, "join/"+url.PathEscape(w.room), struct{}{})
		v.matrixPeople = append(v.matrixPeople, u)
		v.xmppPeople = append(v.xmppPeople, w.xmpp(fmt.Sprintf("x%02d", i), personName("XMPP", i)))
	}
	return v
}

func (v *volume) put(u servers.User, path string, body any) { v.request(http.MethodPut, u, path, body) }

// request makes a request as a user, and tries again while the homeserver is away.
func (v *volume) request(method string, u servers.User, path string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		v.t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), volumePatience)
	defer cancel()
	err = servers.Poll(ctx, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, method, v.synapse.URL+"/_matrix/client/v3/"+path, bytes.NewReader(text))
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+u.Token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", resp.Status, answer)
		}
		return err
	})
	if err != nil {
		v.t.Errorf("%s: %v", path, err)
	}
}

// both lets everybody send count messages, while something happens.
func (v *volume) both(count int, while func()) {
	v.t.Helper()
	v.send(count, count, while)
}

func (v *volume) fromXMPP(count int, while func())   { v.t.Helper(); v.send(0, count, while) }
func (v *volume) fromMatrix(count int, while func()) { v.t.Helper(); v.send(count, 0, while) }

func (v *volume) send(fromMatrix, fromXMPP int, while func()) {
	v.t.Helper()
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for range fromMatrix {
				v.sentMatrix[i]++
				path := fmt.Sprintf("rooms/%s/send/m.room.message/%d", url.PathEscape(v.room), v.sentMatrix[i])
				v.turn <- struct{}{}
				v.put(v.matrixPeople[i], path, map[string]string{"msgtype": "m.text", "body": line("Matrix", i, v.sentMatrix[i])})
				<-v.turn
			}
		})
		sending.Go(func() {
			for range fromXMPP {
				v.sentXMPP[i]++
				v.sendXMPP(i, line("XMPP", i, v.sentXMPP[i]))
			}
		})
	}
	while()
	sending.Wait()
}

// line is the nth message of a person.
func line(side string, i, n int) string { return fmt.Sprintf("%s says %d", personName(side, i), n) }

// sendXMPP sends a message to the MUC, and waits until the room shows it.
func (v *volume) sendXMPP(i int, body string) {
	ctx, cancel := context.WithTimeout(v.t.Context(), volumePatience)
	defer cancel()
	id, err := v.xmppPeople[i].Send(ctx, servers.XMPPMessage{To: v.muc, Group: true, Body: body})
	if err == nil {
		_, err = v.xmppPeople[i].WaitFor(ctx, func(s servers.Stanza) bool { return s.ID == id && strings.HasPrefix(s.From, v.muc+"/") })
	}
	if err != nil {
		v.t.Errorf("%s: %v", body, err)
	}
}

// rejoin lets the XMPP people come back after their server was restarted.
func (v *volume) rejoin() {
	v.t.Helper()
	all := append([]*servers.XMPPClient{v.owner}, v.xmppPeople...)
	for i, c := range all {
		if err := c.Connect(v.t.Context()); err != nil {
			v.t.Fatal(err)
		}
		if i == 0 {
			continue // the owner is not in the room
		}
		if err := c.Join(v.t.Context(), v.muc, personName("XMPP", i-1), 0); err != nil {
			v.t.Fatal(err)
		}
	}
}

// shown is a message as a server keeps it.
type shown struct{ name, body string }

// matrixShows returns the room as Synapse keeps it.
func (v *volume) matrixShows(ctx context.Context) ([]shown, error) {
	members, err := v.host.Members(ctx, v.room)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, m := range members {
		names[m.ID] = m.Name
	}
	events, err := v.host.Messages(ctx, v.room, 5**messages)
	if err != nil {
		return nil, err
	}
	var list []shown
	for _, e := range events {
		if e.Type == "m.room.message" {
			list = append(list, shown{names[e.Sender], e.Body()})
		}
	}
	return list, nil
}

// xmppShows returns the room as Prosody's archive keeps it.
func (v *volume) xmppShows(ctx context.Context) ([]shown, error) {
	stanzas, err := v.owner.Archive(ctx, v.muc, 5**messages)
	if err != nil {
		return nil, err
	}
	var list []shown
	for _, s := range stanzas {
		if s.Body != "" {
			list = append(list, shown{strings.TrimPrefix(s.From, v.muc+"/"), s.Body})
		}
	}
	return list, nil
}

// arrived waits until some of the messages of XMPP are shown in Matrix.
func (v *volume) arrived(least int) {
	v.t.Helper()
	v.wait("the first messages", func(context.Context) error {
		if n := v.seenInMatrix(); n < least {
			return fmt.Errorf("%d of %d", n, least)
		}
		return nil
	})
}

// wait waits for what may take long.
func (v *volume) wait(what string, done func(context.Context) error) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), volumePatience)
	defer cancel()
	if err := rarely(ctx, done); err != nil {
		v.t.Fatalf("%s: %v", what, err)
	}
}

// offered says what of Matrix the first XMPP person, who has never been away, has not seen.
func (v *volume) offered(context.Context) error {
	n := 0
	for _, s := range v.xmppPeople[0].Events() {
		if s.Kind == "message" && strings.HasPrefix(s.Body, "Matrix ") {
			n++
		}
	}
	if n < sum(v.sentMatrix) {
		return fmt.Errorf("%d of %d are in XMPP", n, sum(v.sentMatrix))
	}
	return nil
}

// of returns the messages by people of a side.
func of(side string, list []shown) (from []shown) {
	for _, s := range list {
		if strings.HasPrefix(s.body, side+" ") {
			from = append(from, s)
		}
	}
	return from
}

// check waits until everything has arrived, and compares the two rooms.
func (v *volume) check() {
	v.t.Helper()
	began := time.Now()
	v.wait("everything", v.delivered)
	v.t.Logf("the last of %d and %d messages had come %v after it was sent", sum(v.sentMatrix), sum(v.sentXMPP), time.Since(began).Round(time.Second))
	inMatrix, err := v.matrixShows(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	inXMPP, err := v.xmppShows(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	compare(v.t, "from Matrix, in XMPP", of("Matrix", inMatrix), of("Matrix", inXMPP))
	compare(v.t, "from XMPP, in Matrix", of("XMPP", inXMPP), of("XMPP", inMatrix))
	s, err := v.status(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Logf("shown again as nobody could know: %d", s.Repeated)
}

// delivered says what is still on its way: messages in Matrix as a client has seen them, as to ask for all costs Synapse much; and what the
// gateway knows of.
func (v *volume) delivered(ctx context.Context) error {
	if n := v.seenInMatrix(); n < sum(v.sentXMPP) {
		return fmt.Errorf("%d of %d are in Matrix", n, sum(v.sentXMPP))
	}
	s, err := v.status(ctx)
	if err != nil {
		return err
	}
	for _, b := range s.Rooms[0].Bindings {
		if b.Waiting > 0 {
			return fmt.Errorf("%s: %d wait", b.Chat, b.Waiting)
		}
	}
	return nil
}

func (v *volume) seenInMatrix() (n int) {
	for _, e := range v.host.Events() {
		if e.Room == v.room && e.Type == "m.room.message" && strings.HasPrefix(e.Body(), "XMPP ") {
			n++
		}
	}
	return n
}

// rarely calls f every second until it returns nil, and returns its last error once ctx has ended: what it asks costs the servers much.
func rarely(ctx context.Context, f func(context.Context) error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func sum(list []int) (n int) {
	for _, i := range list {
		n += i
	}
	return n
}

// compare tells how what was shown differs from what was said.
func compare(t *testing.T, what string, said, got []shown) {
	t.Helper()
	if slices.Equal(said, got) {
		return
	}
	count := map[shown]int{}
	for _, s := range got {
		count[s]++
	}
	missing, twice := 0, 0
	for _, s := range said {
		switch n := count[s]; {
		case n == 0:
			if missing++; missing <= 3 {
				t.Logf("%s: missing, or under another name: %+v", what, s)
			}
		case n > 1:
			if twice++; twice <= 3 {
				t.Logf("%s: %d times: %+v", what, n, s)
			}
		}
	}
	t.Errorf("%s: %d said, %d shown, %d missing or misnamed, %d more than once; in order: %v", what, len(said), len(got), missing, twice, missing+twice > 0)
	for i := range min(len(said), len(got)) {
		if said[i] != got[i] {
			t.Logf("%s: the first that differs is number %d: %+v, said was %+v", what, i, got[i], said[i])
			break
		}
	}
}

// TestFrozenServer: while Prosody is frozen, a room of two Matrix chats beside it is as quick as ever, and what Prosody
// was to show comes when it goes on.
func TestFrozenServer(t *testing.T) {
	w := newWorld(t)
	left, right := w.newRoom("left"), w.newRoom("right")
	w.more(fmt.Sprintf("  - {id: second, name: Second, bind: [\"matrix-home/%s\", \"matrix-home/%s\"]}\n", left, right))
	w.start()
	alice, bob := w.matrix("alice", "Alice"), w.xmpp("bob", "Bob")
	ok, ctx := must(t), t.Context()
	for _, room := range []string{left, right} {
		ok(alice.Join(ctx, room))
	}
	ok(alice.Send(ctx, w.room, "first"))
	w.seesStanza(bob, "text", "Alice", groupBody("first"))
	ok(alice.Send(ctx, left, "warm up"))
	w.in(alice, right, "warm up")

	w.prosody.Freeze()
	ok(alice.Send(ctx, w.room, "while frozen"))
	began := time.Now()
	for i := range 10 {
		ok(alice.Send(ctx, left, fmt.Sprint("message ", i)))
		w.in(alice, right, fmt.Sprint("message ", i))
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("ten messages took %v", d)
	}
	w.prosody.Continue()
	w.seesStanza(bob, "text", "Alice", groupBody("while frozen"))

	// Alice is in all three rooms: nothing of hers may come back to where she wrote it.
	events, err := alice.Messages(ctx, left, 100)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range events {
		if e.Type == "m.room.message" {
			n++
		}
	}
	if n != 11 {
		t.Errorf("%d messages in the room where eleven were written", n)
	}
}

// in waits for a message in a Matrix room.
func (w *world) in(c *servers.MatrixClient, room, body string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	_, err := c.WaitFor(ctx, func(e servers.MatrixEvent) bool {
		return e.Room == room && matrixBody(body)(e) && e.Sender != c.User.ID
	})
	if err != nil {
		w.t.Fatalf("%q is not shown: %v", body, err)
	}
}

// more adds rooms to the configuration.
func (w *world) more(text string) {
	w.write("config.yaml", w.config+text)
}
