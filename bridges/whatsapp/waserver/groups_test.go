//go:build !nowhatsapp

package waserver_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/bridges/whatsapp/waserver/waclient"
)

// Each change of a group reaches the others, and the group is then so.
func TestGroupChanges(t *testing.T) {
	s, alice, linked, bob := start(t)
	carol := s.Phone(t, carolNumber, "Carol")
	ctx := t.Context()
	g := alice.NewGroup(t, "Family", bob)
	j := waclient.Wait(t, linked, func(e *events.JoinedGroup) bool { return e.JID == g })
	if j.Name != "Family" || len(j.Participants) != 2 || j.AddressingMode != types.AddressingModeLID {
		t.Errorf("joined %+v", j.GroupInfo)
	}
	change := func(what string, do error, seen func(*events.GroupInfo) bool) {
		t.Helper()
		if do != nil {
			t.Fatalf("%s: %v", what, do)
		}
		for _, c := range []*waclient.Client{linked, bob.Client} {
			waclient.Wait(t, c, func(e *events.GroupInfo) bool { return e.JID == g && seen(e) })
		}
	}
	change("subject", alice.SetGroupName(ctx, g, "Clan"), func(e *events.GroupInfo) bool { return e.Name != nil && e.Name.Name == "Clan" })
	change("description", alice.SetGroupTopic(ctx, g, "", "", "all of us"), func(e *events.GroupInfo) bool { return e.Topic != nil && e.Topic.Topic == "all of us" })
	change("timer", alice.SetDisappearingTimer(ctx, g, whatsmeow.DisappearingTimer7Days, time.Time{}), func(e *events.GroupInfo) bool {
		return e.Ephemeral != nil && e.Ephemeral.DisappearingTimer == 604800
	})
	info, err := linked.GetGroupInfo(ctx, g)
	if err != nil || info.Name != "Clan" || info.Topic != "all of us" || info.DisappearingTimer != 604800 {
		t.Errorf("info %+v, %v", info, err)
	}
	change("no timer", alice.SetDisappearingTimer(ctx, g, 0, time.Time{}), func(e *events.GroupInfo) bool { return e.Ephemeral != nil && !e.Ephemeral.IsEphemeral })
	if err := alice.SetDisappearingTimer(ctx, g, time.Minute, time.Time{}); !errors.Is(err, whatsmeow.ErrInvalidDisappearingTimer) {
		t.Errorf("a timer of a minute: %v", err)
	}
	change("announce", alice.SetGroupAnnounce(ctx, g, true), func(e *events.GroupInfo) bool { return e.Announce != nil && e.Announce.IsAnnounce })
	if _, err := bob.SendMessage(ctx, g, text("may I")); !errors.Is(err, whatsmeow.ErrServerReturnedError) {
		t.Errorf("only admins may send: %v", err)
	}
	change("all speak", alice.SetGroupAnnounce(ctx, g, false), func(e *events.GroupInfo) bool { return e.Announce != nil && !e.Announce.IsAnnounce })
	change("locked", alice.SetGroupLocked(ctx, g, true), func(e *events.GroupInfo) bool { return e.Locked != nil && e.Locked.IsLocked })
	if err := bob.SetGroupName(ctx, g, "Bob's"); !errors.Is(err, whatsmeow.ErrIQNotAuthorized) {
		t.Errorf("only admins may rename: %v", err)
	}
	update := func(action whatsmeow.ParticipantChange, who types.JID) error {
		_, err := alice.UpdateGroupParticipants(ctx, g, []types.JID{who}, action)
		return err
	}
	change("add", update(whatsmeow.ParticipantChangeAdd, carol.JID()), func(e *events.GroupInfo) bool { return slices.Equal(e.Join, []types.JID{carol.LID()}) })
	waclient.Wait(t, carol.Client, func(e *events.JoinedGroup) bool { return e.JID == g })
	carol.Text(t, g, "hello from carol")
	waclient.WaitText(t, linked, "hello from carol")
	change("promote", update(whatsmeow.ParticipantChangePromote, bob.JID()), func(e *events.GroupInfo) bool { return slices.Equal(e.Promote, []types.JID{bob.LID()}) })
	change("demote", update(whatsmeow.ParticipantChangeDemote, bob.JID()), func(e *events.GroupInfo) bool { return slices.Equal(e.Demote, []types.JID{bob.LID()}) })
	change("remove", update(whatsmeow.ParticipantChangeRemove, carol.LID()), func(e *events.GroupInfo) bool { return slices.Equal(e.Leave, []types.JID{carol.LID()}) })
	waclient.Wait(t, carol.Client, func(e *events.GroupInfo) bool { return slices.Equal(e.Leave, []types.JID{carol.LID()}) })
	if _, err := carol.GetGroupInfo(ctx, g); !errors.Is(err, whatsmeow.ErrNotInGroup) {
		t.Errorf("who was removed still sees the group: %v", err)
	}
	if _, err := carol.SendMessage(ctx, g, text("still here")); err == nil {
		t.Error("who was removed still sends")
	}
	change("leave", bob.LeaveGroup(ctx, g), func(e *events.GroupInfo) bool { return slices.Equal(e.Leave, []types.JID{bob.LID()}) })
	if m := s.Members(g); !slices.Equal(m, []string{aliceNumber}) {
		t.Errorf("members %v", m)
	}
	if u := s.Unknown(); len(u) > 0 {
		t.Errorf("unknown %v", u)
	}
}

func TestInviteLink(t *testing.T) {
	s, alice, linked, bob := start(t)
	ctx := t.Context()
	g := alice.NewGroup(t, "Club")
	invite, err := alice.GetGroupInviteLink(ctx, g, false)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := bob.GetGroupInfoFromLink(ctx, invite); err != nil || info.JID != g {
		t.Errorf("info %+v, %v", info, err)
	}
	if j, err := bob.JoinGroupWithLink(ctx, invite); err != nil || j != g {
		t.Fatalf("joined %s, %v", j, err)
	}
	waclient.Wait(t, linked, func(e *events.GroupInfo) bool { return slices.Equal(e.Join, []types.JID{bob.LID()}) })
	bob.Text(t, g, "here I am")
	waclient.WaitText(t, linked, "here I am")
	if joined, err := bob.GetJoinedGroups(ctx); err != nil || len(joined) != 1 || joined[0].JID != g {
		t.Errorf("groups %+v, %v", joined, err)
	}
	if _, err := alice.GetGroupInviteLink(ctx, g, true); err != nil {
		t.Fatal(err)
	}
	carol := s.Phone(t, carolNumber, "Carol")
	if _, err := carol.JoinGroupWithLink(ctx, invite); !errors.Is(err, whatsmeow.ErrInviteLinkInvalid) {
		t.Errorf("an old link still leads in: %v", err)
	}
	if _, err := alice.CreateGroup(ctx, whatsmeow.ReqCreateGroup{Name: strings.Repeat("x", 101)}); !errors.Is(err, whatsmeow.ErrIQNotAcceptable) {
		t.Errorf("a subject of 101 characters: %v", err)
	}
}

// In a group that goes by number, members are named by number, and their LID is said beside it.
func TestOldFashionedGroup(t *testing.T) {
	s := waserver.Start(t)
	alice, bob := s.Phone(t, aliceNumber, "Alice"), s.Phone(t, bobNumber, "Bob")
	g := alice.NewGroup(t, "Old", bob)
	s.OldFashioned(t, g, true)
	linked := alice.Link(t)
	info, err := linked.GetGroupInfo(t.Context(), g)
	if err != nil || info.AddressingMode != types.AddressingModePN || info.Participants[1].JID != bob.JID() || info.Participants[1].LID != bob.LID() {
		t.Errorf("info %+v, %v", info, err)
	}
	if _, err := bob.GetGroupInfo(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	bob.Text(t, g, "by number")
	if m := waclient.WaitText(t, linked, "by number"); m.Info.Sender != bob.JID() || m.Info.SenderAlt != bob.LID() {
		t.Errorf("sender %s, also %s", m.Info.Sender, m.Info.SenderAlt)
	}
	linked.Text(t, g, "so be it")
	waclient.WaitText(t, bob.Client, "so be it")
	quiet(t, s, alice.Client, bob.Client, linked)
}

func TestTypingInGroup(t *testing.T) {
	s, alice, linked, bob := start(t)
	g := alice.NewGroup(t, "Family", bob)
	ctx := t.Context()
	if err := bob.SendChatPresence(ctx, g, types.ChatPresenceComposing, types.ChatPresenceMediaText); err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, alice.Client, func(e *events.ChatPresence) bool { return e.Chat == g && e.Sender == bob.LID() })
	if len(waclient.Kept[*events.ChatPresence](linked)) > 0 {
		t.Error("who is not available was told that somebody types")
	}
	id := linked.Text(t, g, "read me")
	m := waclient.WaitText(t, bob.Client, "read me")
	if err := bob.MarkRead(ctx, []string{id}, time.Now(), g, m.Info.Sender); err != nil {
		t.Fatal(err)
	}
	r := linked.WaitReceipt(t, id, types.ReceiptTypeRead)
	if r.Chat != g || r.Sender.ToNonAD() != bob.LID() {
		t.Errorf("receipt of %s in %s", r.Sender, r.Chat)
	}
	quiet(t, s, alice.Client, linked, bob.Client)
}

// Who may add and join can be set, and who is asked for wrongly is answered so.
func TestGroupRights(t *testing.T) {
	s, alice, linked, bob := start(t)
	carol := s.Phone(t, carolNumber, "Carol")
	ctx := t.Context()
	g := alice.NewGroup(t, "Family", bob)
	if err := alice.SetGroupMemberAddMode(ctx, g, types.GroupMemberAddModeAdmin); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.UpdateGroupParticipants(ctx, g, []types.JID{carol.JID()}, whatsmeow.ParticipantChangeAdd); !errors.Is(err, whatsmeow.ErrIQNotAuthorized) {
		t.Errorf("only admins may add: %v", err)
	}
	if _, err := bob.GetGroupInviteLink(ctx, g, false); !errors.Is(err, whatsmeow.ErrGroupInviteLinkUnauthorized) {
		t.Errorf("only admins may invite: %v", err)
	}
	if err := alice.SetGroupJoinApprovalMode(ctx, g, true); err != nil {
		t.Fatal(err)
	}
	info, err := linked.GetGroupInfo(ctx, g)
	if err != nil || info.MemberAddMode != types.GroupMemberAddModeAdmin || !info.IsJoinApprovalRequired {
		t.Errorf("info %+v, %v", info, err)
	}
	nobody := types.NewJID("4915199999999", types.DefaultUserServer)
	got, err := alice.UpdateGroupParticipants(ctx, g, []types.JID{nobody, bob.JID()}, whatsmeow.ParticipantChangeAdd)
	if err != nil || len(got) != 2 || got[0].Error != 404 || got[1].Error != 409 {
		t.Errorf("added %+v, %v", got, err)
	}
	if _, err := alice.GetGroupInfo(ctx, types.NewJID("1", types.GroupServer)); !errors.Is(err, whatsmeow.ErrGroupNotFound) {
		t.Errorf("no such group: %v", err)
	}
	if err := alice.SetGroupName(ctx, g, strings.Repeat("x", 101)); !errors.Is(err, whatsmeow.ErrIQNotAcceptable) {
		t.Errorf("a subject of 101 characters: %v", err)
	}
	if err := carol.LeaveGroup(ctx, g); !errors.Is(err, whatsmeow.ErrIQNotFound) {
		t.Errorf("who is not in leaves: %v", err)
	}
	if err := alice.SetGroupTopic(ctx, g, "", "", "words"); err != nil {
		t.Fatal(err)
	}
	if err := alice.SetGroupTopic(ctx, g, "", "", ""); err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, linked, func(e *events.GroupInfo) bool { return e.Topic != nil && e.Topic.TopicDeleted })
	quiet(t, s, alice.Client, linked, bob.Client)
}
