//go:build !nowhatsapp

package waserver_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/bridges/whatsapp/waserver/blob"
	"mimigate/bridges/whatsapp/waserver/waclient"
)

type node = waBinary.Node

func TestPeople(t *testing.T) {
	s, alice, linked, bob := start(t)
	ctx := t.Context()
	s.SetBusiness(bobNumber, "Bob's Bakery")
	found, err := linked.IsOnWhatsApp(ctx, []string{"+" + bobNumber, "+4915199999999"})
	if err != nil || len(found) != 2 || !found[0].IsIn || found[0].JID != bob.LID() || found[0].PhoneNumber != bob.JID() || found[1].IsIn {
		t.Errorf("found %+v, %v", found, err)
	}
	info, err := linked.GetUserInfo(ctx, []types.JID{bob.JID()})
	if err != nil || info[bob.JID()].LID != bob.LID() || len(info[bob.JID()].Devices) != 1 {
		t.Errorf("info %+v, %v", info, err)
	}
	waclient.Wait(t, linked, func(e *events.BusinessName) bool { return e.NewBusinessName == "Bob's Bakery" })
	bob.Text(t, alice.JID(), "bread")
	if m := waclient.WaitText(t, linked, "bread"); m.Info.VerifiedName == nil || m.Info.VerifiedName.Details.GetVerifiedName() != "Bob's Bakery" {
		t.Errorf("verified name %+v", m.Info.VerifiedName)
	}
	if err := linked.SendPresence(ctx, types.PresenceAvailable); err != nil {
		t.Fatal(err)
	}
	if err := linked.SubscribePresence(ctx, bob.LID()); err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, linked, func(e *events.Presence) bool { return e.From == bob.LID() && !e.Unavailable })
	bob.Disconnect()
	e := waclient.Wait(t, linked, func(e *events.Presence) bool { return e.Unavailable })
	if e.LastSeen.IsZero() {
		t.Error("last seen never")
	}
	bob.Login(t)
	if _, err := linked.UpdateBlocklist(ctx, bob.LID(), events.BlocklistChangeActionBlock); err != nil {
		t.Fatal(err)
	}
	if list, err := linked.GetBlocklist(ctx); err != nil || !slices.Equal(list.JIDs, []types.JID{bob.LID()}) {
		t.Errorf("blocked %+v, %v", list, err)
	}
	bob.Text(t, alice.JID(), "unheard")
	if _, err := linked.UpdateBlocklist(ctx, bob.LID(), events.BlocklistChangeActionUnblock); err != nil {
		t.Fatal(err)
	}
	bob.Text(t, alice.JID(), "heard")
	waclient.WaitText(t, linked, "heard")
	for _, m := range waclient.Kept[*events.Message](linked) {
		if waclient.Text(m) == "unheard" {
			t.Error("a blocked person was heard")
		}
	}
	if p := linked.GetPrivacySettings(ctx); p.ReadReceipts != types.PrivacySettingAll {
		t.Errorf("privacy %+v", p)
	}
	quiet(t, s, alice.Client, linked)
}

// A person whose messages name only the number, and whose number and LID are joined later.
func TestLateLID(t *testing.T) {
	s, alice, linked, bob := start(t)
	s.ByNumber(bobNumber, true)
	bob.Text(t, alice.JID(), "by number")
	if m := waclient.WaitText(t, linked, "by number"); m.Info.Sender != bob.JID() || !m.Info.SenderAlt.IsEmpty() {
		t.Errorf("sender %s, also %s", m.Info.Sender, m.Info.SenderAlt)
	}
	s.ByNumber(bobNumber, false)
	bob.Text(t, alice.JID(), "by LID")
	if m := waclient.WaitText(t, linked, "by LID"); m.Info.Sender != bob.LID() || m.Info.SenderAlt != bob.JID() {
		t.Errorf("sender %s, also %s", m.Info.Sender, m.Info.SenderAlt)
	}
	linked.Text(t, bob.JID(), "answer")
	waclient.WaitText(t, bob.Client, "answer")
	// A hidden number is told nowhere.
	carol := s.Phone(t, carolNumber, "Carol")
	s.HideNumber(carolNumber, true)
	g := alice.NewGroup(t, "Hidden", carol)
	carol.Text(t, g, "who am I")
	if m := waclient.WaitText(t, linked, "who am I"); m.Info.Sender != carol.LID() || !m.Info.SenderAlt.IsEmpty() {
		t.Errorf("sender %s, also %s", m.Info.Sender, m.Info.SenderAlt)
	}
	info, err := linked.GetGroupInfo(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range info.Participants {
		if p.LID == carol.LID() && !p.PhoneNumber.IsEmpty() {
			t.Errorf("number %s", p.PhoneNumber)
		}
	}
}

// Who has sent to a person before learns of their new device, and encrypts for it too.
func TestNewDevice(t *testing.T) {
	s := waserver.Start(t)
	alice, bob := s.Phone(t, aliceNumber, "Alice"), s.Phone(t, bobNumber, "Bob")
	g := alice.NewGroup(t, "Family", bob)
	bob.Text(t, alice.JID(), "one device")
	bob.Text(t, g, "one device, group")
	linked := alice.Link(t)
	learnt(t, bob, alice)
	bob.Text(t, alice.JID(), "two devices")
	waclient.WaitText(t, linked, "two devices")
	bob.Text(t, g, "two devices, group")
	waclient.WaitText(t, linked, "two devices, group")
	quiet(t, s, alice.Client, bob.Client, linked)
}

func TestMedia(t *testing.T) {
	s, alice, linked, bob := start(t)
	ctx := t.Context()
	body := bytes.Repeat([]byte("picture "), 10000)
	up, err := bob.Upload(ctx, body, whatsmeow.MediaImage)
	if err != nil {
		t.Fatal(err)
	}
	bob.Send(t, alice.JID(), &waE2E.Message{ImageMessage: &waE2E.ImageMessage{
		Mimetype: proto.String("image/png"), Caption: proto.String("look"), URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey,
		FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength,
	}})
	m := waclient.WaitText(t, linked, "look")
	got, err := linked.Download(ctx, m.Message.GetImageMessage())
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d octets of %d, %v", len(got), len(body), err)
	}
	if a := m.Info.Type; a != "media" || m.Info.MediaType != "image" {
		t.Errorf("type %s, media type %s", a, m.Info.MediaType)
	}
	s.ExpireMedia()
	if _, err := linked.Download(ctx, m.Message.GetImageMessage()); !errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith410) {
		t.Errorf("error %v", err)
	}
	if err := linked.SendMediaRetryReceipt(ctx, &m.Info, m.Message.GetImageMessage().GetMediaKey()); err != nil {
		t.Fatal(err)
	}
	e := waclient.Wait(t, linked, func(e *events.MediaRetry) bool { return e.MessageID == m.Info.ID })
	if _, err := whatsmeow.DecryptMediaRetryNotification(e, m.Message.GetImageMessage().GetMediaKey()); !errors.Is(err, whatsmeow.ErrMediaNotAvailableOnPhone) {
		t.Errorf("error %v", err)
	}
	quiet(t, s, alice.Client, linked, bob.Client)
}

func TestPictures(t *testing.T) {
	s, alice, linked, bob := start(t)
	ctx := t.Context()
	g := alice.NewGroup(t, "Family", bob)
	if _, err := linked.GetProfilePictureInfo(ctx, bob.LID(), nil); !errors.Is(err, whatsmeow.ErrProfilePictureNotSet) {
		t.Errorf("error %v", err)
	}
	linked.Text(t, bob.JID(), "hello") // from now on it hears of Bob's picture
	id, err := bob.SetGroupPhoto(ctx, types.EmptyJID, []byte("face"))
	if err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, linked, func(e *events.Picture) bool { return e.JID == bob.LID() && e.PictureID == id })
	groupID, err := alice.SetGroupPhoto(ctx, g, []byte("house"))
	if err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, linked, func(e *events.Picture) bool { return e.JID == g && e.PictureID == groupID })
	for target, want := range map[types.JID]string{bob.LID(): "face", bob.JID(): "face", g: "house"} {
		info, err := linked.GetProfilePictureInfo(ctx, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, info.URL); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
		again, err := linked.GetProfilePictureInfo(ctx, target, &whatsmeow.GetProfilePictureParams{ExistingID: info.ID})
		if err != nil || again != nil {
			t.Errorf("%s: %+v, %v; it has not changed", target, again, err)
		}
	}
	if _, err := alice.SetGroupPhoto(ctx, g, nil); err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, linked, func(e *events.Picture) bool { return e.JID == g && e.Remove })
	quiet(t, s, alice.Client, linked, bob.Client)
}

func get(t *testing.T, s *waserver.Server, url string) string {
	t.Helper()
	r, err := s.HTTPClient().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", r.Status, err)
	}
	return string(body)
}

// App state goes from device to device, over more patches than one answer carries.
func TestAppState(t *testing.T) {
	s, alice, linked, bob := start(t)
	ctx := t.Context()
	if err := alice.SendAppState(ctx, appstate.BuildPin(bob.JID(), true)); err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, linked, func(e *events.Pin) bool { return e.JID == bob.JID() && e.Action.GetPinned() })
	s.WaitQuiet(t, aliceNumber)
	linked.Disconnect()
	s.WaitOffline(t, aliceNumber)
	for i := range 45 {
		if err := alice.SendAppState(ctx, appstate.BuildMute(bob.JID(), i%2 == 0, time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	linked.Login(t)
	for range 45 {
		waclient.Wait(t, linked, func(e *events.Mute) bool { return e.JID == bob.JID() })
	}
	if err := linked.SendAppState(ctx, appstate.BuildMute(alice.JID(), true, time.Hour)); err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, alice.Client, func(e *events.Mute) bool { return e.JID == alice.JID() })
	quiet(t, s, alice.Client, bob.Client)
}

func TestHistory(t *testing.T) {
	s, alice, linked, bob := start(t)
	alice.ShareHistory(t, *linked.Store.ID, &waHistorySync.HistorySync{
		SyncType:      waHistorySync.HistorySync_INITIAL_BOOTSTRAP.Enum(),
		Conversations: []*waHistorySync.Conversation{{ID: proto.String(bob.JID().String()), Name: proto.String("Bob")}},
	})
	e := waclient.Wait[*events.HistorySync](t, linked, nil)
	if len(e.Data.GetConversations()) != 1 {
		t.Errorf("%v", e.Data)
	}
	quiet(t, s, alice.Client, linked)
}

// A status update goes to the contacts of who posts it, and to their own devices.
func TestStatus(t *testing.T) {
	s, alice, linked, bob := start(t)
	if err := bob.Store.Contacts.PutContactName(t.Context(), alice.LID(), "Alice", "Alice A."); err != nil {
		t.Fatal(err)
	}
	bob.Text(t, types.StatusBroadcastJID, "on the beach")
	m := waclient.WaitText(t, linked, "on the beach")
	if m.Info.Chat != types.StatusBroadcastJID || m.Info.Sender != bob.LID() {
		t.Errorf("status %+v", m.Info)
	}
	quiet(t, s, alice.Client, linked, bob.Client)
}

// Who runs out of one-time keys is told, and gives new ones.
func TestKeysRunOut(t *testing.T) {
	s, _, linked, bob := start(t)
	//lint:ignore SA1019 whatsmeow has no other way to use up keys
	inside, bobs := linked.DangerousInternals(), bob.DangerousInternals()
	for range 46 {
		if len(inside.FetchPreKeysNoError(t.Context(), []types.JID{bob.LID()})) != 1 {
			t.Fatal("no keys of Bob")
		}
	}
	deadline := time.After(10 * time.Second)
	for {
		n, err := bobs.GetServerPreKeyCount(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n > 46 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("the server has %d keys of Bob", n)
		default:
		}
	}
	linked.Text(t, bob.JID(), "with a new key")
	waclient.WaitText(t, bob.Client, "with a new key")
	quiet(t, s, linked, bob.Client)
}

func TestBusinessLinks(t *testing.T) {
	s := waserver.Start(t)
	bob := s.Phone(t, bobNumber, "Bob")
	s.SetBusiness(bobNumber, "Bob's Bakery")
	c := s.Client(t)
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	bob.Scan(t, c.WaitQR(t))
	if e := waclient.Wait[*events.PairSuccess](t, c, nil); e.BusinessName != "Bob's Bakery" {
		t.Errorf("business %q", e.BusinessName)
	}
	s.WaitOnline(t, bobNumber)
}

// The media hosts refuse what is not what it says it is.
func TestMediaHosts(t *testing.T) {
	s := waserver.Start(t)
	post := func(path string) int {
		r, err := s.HTTPClient().Post("https://mmg.whatsapp.net"+path, "", bytes.NewReader([]byte("body")))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.StatusCode
	}
	if code := post("/mms/image/x?auth=wrong"); code != http.StatusUnauthorized {
		t.Errorf("a wrong auth: %d", code)
	}
	if code := post("/mms/image/x?auth=" + url.QueryEscape(blob.Auth)); code != http.StatusBadRequest {
		t.Errorf("a wrong hash: %d", code)
	}
	alice := s.Phone(t, aliceNumber, "Alice")
	up, err := alice.Upload(t.Context(), []byte("gone soon"), whatsmeow.MediaHistory)
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.DeleteMedia(t.Context(), whatsmeow.MediaHistory, up.DirectPath, up.FileEncSHA256, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.DownloadMediaWithOnlyPath(t.Context(), up.DirectPath); !errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith410) {
		t.Errorf("deleted media: %v", err)
	}
}

// The product has nothing of this in it, and without WhatsApp nothing of whatsmeow nor of libsignal, which is GPL-3.0.
func TestNotInTheProduct(t *testing.T) {
	for tags, words := range map[string][]string{"goolm": {"waserver"}, "goolm nowhatsapp": {"whatsmeow", "libsignal", "waserver"}} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tags, "mimigate/cmd/mimigate").Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if !bytes.Contains(out, []byte("mimigate/core/gateway")) {
			t.Fatal("go list lists nothing of the product")
		}
		for _, w := range words {
			if bytes.Contains(out, []byte(w)) {
				t.Errorf("%s: it has %s", tags, w)
			}
		}
	}
}

// Somebody has a new phone: what is linked to the old one is unlinked, and others go on with the new identity.
func TestNewPhone(t *testing.T) {
	loggingOut(t)
	s, alice, linked, bob := start(t)
	bobsOther := bob.Link(t)
	linked.Text(t, bob.JID(), "old phone")
	waclient.WaitText(t, bobsOther, "old phone")
	again := s.Phone(t, bobNumber, "Bob again")
	waclient.Wait[*events.LoggedOut](t, bobsOther, nil)
	waclient.Wait[*events.LoggedOut](t, bob.Client, nil)
	waclient.Wait(t, linked, func(e *events.IdentityChange) bool { return e.JID == again.LID() })
	linked.Text(t, again.JID(), "new phone")
	waclient.WaitText(t, again.Client, "new phone")
	again.Text(t, alice.JID(), "here I am")
	if m := waclient.WaitText(t, linked, "here I am"); m.Info.Sender != bob.LID() || m.Info.PushName != "Bob again" {
		t.Errorf("%+v", m.Info)
	}
	quiet(t, s, alice.Client) // Alice's linked device and Bob's new phone find each other by way of retries
}
