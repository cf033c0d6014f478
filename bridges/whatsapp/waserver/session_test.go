//go:build !nowhatsapp

package waserver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/bridges/whatsapp/waserver/waclient"
)

// loggingOut ends a test that goes on to log a device out, where races are looked for: whatsmeow then takes the device's
// store away from under its own goroutines, which do not guard it (Client.updatePushName, Device.Delete).
func loggingOut(t *testing.T) {
	t.Helper()
	if race {
		t.Skip("whatsmeow itself races when a device is logged out")
	}
}

// learnt waits until a client has handled what the server sent it before now, such as that somebody's devices changed: a
// message from there comes after it.
func learnt(t *testing.T, by, from *waserver.Phone) {
	t.Helper()
	from.Text(t, by.JID(), "by now")
	waclient.WaitText(t, by.Client, "by now")
}

// start makes a server with Alice, who has a linked device, and Bob.
func start(t *testing.T) (s *waserver.Server, alice *waserver.Phone, linked *waclient.Client, bob *waserver.Phone) {
	t.Helper()
	s = waserver.Start(t)
	alice, bob = s.Phone(t, aliceNumber, "Alice"), s.Phone(t, bobNumber, "Bob")
	return s, alice, alice.Link(t), bob
}

// What comes while a device is away waits for it, and comes once, in order, when it is back.
func TestOffline(t *testing.T) {
	s, alice, linked, bob := start(t)
	s.WaitQuiet(t, aliceNumber)
	linked.Disconnect()
	s.WaitOffline(t, aliceNumber)
	for i := range 5 {
		bob.Text(t, alice.JID(), fmt.Sprintf("away %d", i))
	}
	if n := s.Waiting(aliceNumber); n < 5 {
		t.Errorf("%d stanzas wait, at least 5 were sent", n)
	}
	linked.Login(t)
	waclient.Wait(t, linked, func(e *events.OfflineSyncPreview) bool { return e.Messages == 5 })
	waclient.Wait(t, linked, func(e *events.OfflineSyncCompleted) bool { return e.Count >= 5 })
	s.WaitQuiet(t, aliceNumber)
	var got []string
	for _, m := range waclient.Kept[*events.Message](linked) {
		if strings.HasPrefix(waclient.Text(m), "away") {
			got = append(got, waclient.Text(m))
		}
	}
	if want := []string{"away 0", "away 1", "away 2", "away 3", "away 4"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	quiet(t, s, alice.Client, bob.Client)
}

// A stanza that the client did not acknowledge comes again at the next login: here its acknowledgement is lost.
func TestNotAcknowledged(t *testing.T) {
	s, alice, linked, bob := start(t)
	s.WaitQuiet(t, aliceNumber)
	remove := s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.FromClient, Match: waserver.Ack, Do: waserver.Lose})
	bob.Text(t, alice.JID(), "once")
	waclient.WaitText(t, linked, "once")
	if s.Waiting(aliceNumber) == 0 {
		t.Error("nothing waits, though nothing was acknowledged")
	}
	remove()
	s.Drop(aliceNumber)
	waclient.Wait[*events.Disconnected](t, linked, nil)
	waclient.Wait[*events.Connected](t, linked, nil)
	s.WaitQuiet(t, aliceNumber)
	for _, m := range waclient.Kept[*events.Message](linked) {
		if waclient.Text(m) == "once" {
			t.Error("whatsmeow did not know the message again")
		}
	}
}

func TestKicked(t *testing.T) {
	s, alice, linked, bob := start(t)
	s.Restart(aliceNumber)
	waclient.Wait[*events.Disconnected](t, linked, nil)
	waclient.Wait[*events.Connected](t, linked, nil)

	s.Replace(aliceNumber)
	waclient.Wait[*events.StreamReplaced](t, linked, nil)
	s.WaitOffline(t, aliceNumber)
	linked.Disconnect()
	linked.Login(t)

	s.Down()
	s.WaitOffline(t, aliceNumber)
	linked.Disconnect()
	if err := linked.Connect(); err == nil {
		t.Error("connected to a server that is down")
	}
	s.Up()
	linked.Login(t)

	loggingOut(t)
	alice.Disconnect() // the phone's own connection was cut as well
	alice.Login(t)
	alice.Unlink(t, s.Devices(aliceNumber)[0])
	e := waclient.Wait[*events.LoggedOut](t, linked, nil)
	if e.OnConnect {
		t.Error("logged out on connect, not while connected")
	}
	if d := s.Devices(aliceNumber); len(d) != 0 {
		t.Errorf("devices %v", d)
	}
	_ = bob
}

func TestRefused(t *testing.T) {
	s, alice, linked, _ := start(t)
	_ = alice
	s.Refuse(aliceNumber, waserver.Banned(int(events.TempBanSentToTooManyPeople), 2*time.Hour))
	s.WaitOffline(t, aliceNumber)
	e := waclient.Wait[*events.TemporaryBan](t, linked, nil)
	if e.Code != events.TempBanSentToTooManyPeople || e.Expire != 2*time.Hour {
		t.Errorf("ban: %+v", e)
	}
	s.Admit(aliceNumber)
	linked.Disconnect()
	linked.Login(t)

	newer := store.GetWAVersion()
	newer[2]++
	s.RequireVersion(newer)
	s.Drop(aliceNumber)
	waclient.Wait[*events.ClientOutdated](t, linked, nil)
	latest, err := whatsmeow.GetLatestVersion(t.Context(), s.HTTPClient())
	if err != nil || *latest != newer {
		t.Errorf("latest version %v, %v; want %v", latest, err, newer)
	}
	s.RequireVersion(store.WAVersionContainer{2, 3000, 0})
	linked.Disconnect()
	linked.Login(t)

	loggingOut(t)
	s.LogOut(aliceNumber)
	waclient.Wait[*events.LoggedOut](t, linked, nil)
}

// A device that unlinks itself is gone, and one whose key the server does not know is refused.
func TestLogout(t *testing.T) {
	loggingOut(t)
	s, alice, linked, bob := start(t)
	bob.Text(t, alice.JID(), "both")
	waclient.WaitText(t, linked, "both")
	if err := linked.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := s.Devices(aliceNumber); len(d) != 0 {
		t.Errorf("devices %v", d)
	}
	learnt(t, bob, alice)
	bob.Text(t, alice.JID(), "only the phone")
	waclient.WaitText(t, alice.Client, "only the phone")
	again := alice.Link(t)
	learnt(t, bob, alice)
	bob.Text(t, alice.JID(), "both again")
	waclient.WaitText(t, again, "both again")
	quiet(t, s, alice.Client, bob.Client, again)
}

// A second login of a device replaces the first.
func TestReplaced(t *testing.T) {
	s, alice, linked, _ := start(t)
	other := waclient.New(t, s.Hook, func(d *store.Device) {
		d.NoiseKey, d.IdentityKey, d.SignedPreKey, d.RegistrationID = linked.Store.NoiseKey, linked.Store.IdentityKey, linked.Store.SignedPreKey, linked.Store.RegistrationID
		id := *linked.Store.ID
		d.ID, d.LID, d.Account = &id, linked.Store.LID, linked.Store.Account
	})
	if err := other.Store.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	other.Login(t)
	waclient.Wait[*events.StreamReplaced](t, linked, nil)
	quiet(t, s, alice.Client, other)
}

func TestScanRefusesOldCodes(t *testing.T) {
	s := waserver.Start(t)
	alice := s.Phone(t, aliceNumber, "Alice")
	c := s.Client(t)
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	alice.Scan(t, c.WaitQR(t))
	e := waclient.Wait[*events.PairSuccess](t, c, nil)
	if e.ID != (types.JID{User: aliceNumber, Device: 1, Server: types.DefaultUserServer}) || e.LID.User != alice.LID().User {
		t.Errorf("linked as %s, %s", e.ID, e.LID)
	}
	waclient.Wait[*events.Connected](t, c, nil)
	if d := s.Devices(aliceNumber); len(d) != 1 || d[0] != e.ID {
		t.Errorf("devices %v", d)
	}
}
