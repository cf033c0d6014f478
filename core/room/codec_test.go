package room

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

var update = flag.Bool("update", false, "rewrite testdata/components.json")

func limit(n uint32) *uint32 { return &n }

// unhex reads hex with spaces and line breaks.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// minimalRoles are roles 0 to 3 of the default policy, as the byte vector has them: it knows no gateways.
func minimalRoles() []policy.Role {
	roles := policy.Default().Roles[:4]
	roles[3].Changes = []policy.RoleChange{{From: 0, Targets: []policy.RoleIndex{1, 2, 3}}, {From: 1, Targets: []policy.RoleIndex{0, 2, 3}},
		{From: 2, Targets: []policy.RoleIndex{0, 1, 3}}, {From: 3, Targets: []policy.RoleIndex{0, 1, 2}}}
	return roles
}

// vectors were computed by another program, from the readings of the drafts written down with it.
var vectors = []struct {
	name string
	id   policy.Component
	set  func(*Contents)
	hex  string
}{
	{"participant list", policy.ParticipantList, func(c *Contents) {
		c.Participants = []Participant{{"mimi://a.example/u/alice", 4}, {"mimi://b.example/u/bob", 2}, {"mimi://c.example/u/cathy", 2}}
	}, `4055186d696d693a2f2f612e6578616d706c652f752f616c69636500000004166d696d693a2f2f622e6578616d706c652f752f626f6200000002186d
		696d693a2f2f632e6578616d706c652f752f636174687900000002`},
	{"participant list afterwards", policy.ParticipantList, func(c *Contents) {
		c.Participants = []Participant{{"mimi://a.example/u/alice", 4}, {"mimi://c.example/u/cathy", 1}, {"mimi://d.example/u/diana", 3}}
	}, `4057186d696d693a2f2f612e6578616d706c652f752f616c69636500000004186d696d693a2f2f632e6578616d706c652f752f636174687900000001
		186d696d693a2f2f642e6578616d706c652f752f6469616e6100000003`},
	{"roles 0 to 3", policy.RolesList, func(c *Contents) { c.Rules.Roles = minimalRoles() },
		`414a00000000076e6f5f726f6c650000000000000000000000010000000000000000010662616e6e6564000000000000000000000001000000000000
		000002066d656d6265720036000200030006010001010102010301040105010601070109010a010c010d020002010202020302040205020602070208
		0209020a020b0000000000000000000012000000000400000002000000020400000000000000030561646d696e00405400000001000200030006000a
		000b000c000f0100010101020103010401050106010701080109010a010b010c010d010e010f0200020102020203020402050206020702080209020a
		020b03000301030203030304000000010000000000004044000000000c000000010000000200000003000000010c0000000000000002000000030000
		00020c000000000000000100000003000000030c000000000000000100000002`},
	{"base room policy", policy.BaseRoomPolicy, func(c *Contents) {
		c.Rules.Base = policy.Base{MultiDevice: true, Persistent: true,
			Components: []policy.Component{policy.RolesList, policy.PreAuthList, policy.AssetPolicy}}
	}, `0000000100000001000600250026002c`},
	{"status notifications", policy.StatusNotificationPolicy, func(c *Contents) {
		c.Rules.Status = &policy.StatusNotifications{Delivery: policy.Optional, Read: policy.Forbidden}
	}, `0002`},
	{"assets", policy.AssetPolicy, func(c *Contents) {
		c.Rules.Assets = &policy.Assets{Location: policy.UploadLocalProvider,
			Domains: []policy.UploadDomains{{Provider: "a.example", Hosts: []string{"assets.a.example"}},
				{Provider: "b.example", Hosts: []string{"media.b.example"}}},
			AllowedDownloads: []policy.Download{policy.DownloadHubProxy, policy.DownloadOHTTP}, ForbiddenDownload: []policy.Download{policy.DownloadDirect},
			DefaultDownload: policy.DownloadHubProxy, MaxImage: 10 << 20, MaxAudio: 20 << 20, MaxVideo: 100 << 20, MaxAttachment: 100 << 20,
			PermittedTypes: []policy.MediaType{}}
	}, `013709612e6578616d706c6511106173736574732e612e6578616d706c6509622e6578616d706c65100f6d656469612e622e6578616d706c65020102
		0100010000000000a00000000000000140000000000000064000000000000006400000000100`},
	{"expiration", policy.MessageExpirationPolicy, func(c *Contents) {
		c.Rules.Expiration = &policy.Expiration{Expiring: policy.Optional, Min: 60, Max: 604800}
	}, `000000003c00093a8000`},
	{"no expiration", policy.MessageExpirationPolicy, func(c *Contents) {
		c.Rules.Expiration = &policy.Expiration{Expiring: policy.Forbidden}
	}, `02`},
	{"logging", policy.LoggingPolicy, func(c *Contents) {
		c.Rules.Logging = &policy.Logging{Logging: policy.Required, Clients: []string{"mimi://a.example/u/logger"}, HumanReadable: "https://a.example/logging"}
	}, `011a196d696d693a2f2f612e6578616d706c652f752f6c6f67676572001968747470733a2f2f612e6578616d706c652f6c6f6767696e67`},
	{"no history", policy.ChatHistoryPolicy, func(c *Contents) { c.Rules.History = &policy.History{Sharing: policy.Forbidden} }, `02`},
	{"bots", policy.BotPolicy, func(c *Contents) {
		c.Rules.Bots = []policy.Bot{{Name: "Bridge", Description: "Relays Signal users", Homepage: "https://b.example/bridge", Role: 2}}
	}, `3b064272696467651352656c617973205369676e616c2075736572731868747470733a2f2f622e6578616d706c652f62726964676500000000020000`},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		want := unhex(t, v.hex)
		var c Contents
		v.set(&c)
		if got := c.Encode(v.id); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", v.name, got, want)
		}
		var back Contents
		if err := back.Decode(v.id, want); err != nil {
			t.Errorf("%s: %v", v.name, err)
		} else if got := back.Encode(v.id); !bytes.Equal(got, want) {
			t.Errorf("%s decoded and encoded again:\n got %x\nwant %x", v.name, got, want)
		}
	}
}

// TestListUpdateVector: cathy gets role 1, bob goes, diana comes with role 3.
func TestListUpdateVector(t *testing.T) {
	want := unhex(t, `08000000020000000104000000011d186d696d693a2f2f642e6578616d706c652f752f6469616e6100000003`)
	u := ListUpdate{Changed: []IndexRole{{2, 1}}, Removed: []uint32{1}, Added: []Participant{{"mimi://d.example/u/diana", 3}}}
	if got := u.Marshal(); !bytes.Equal(got, want) {
		t.Errorf("got %x\nwant %x", got, want)
	}
	if got, err := ParseListUpdate(want); err != nil || !reflect.DeepEqual(got, u) {
		t.Errorf("parsed %+v, %v", got, err)
	}
	before, after := unhex(t, vectors[0].hex), unhex(t, vectors[1].hex)
	got, err := Components{}.Update(mls.ComponentID(policy.ParticipantList), before, [][]byte{want})
	if err != nil || !bytes.Equal(got, after) {
		t.Errorf("applied: %x, %v\nwant %x", got, err, after)
	}
	p := mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{Component: 0x22, Operation: mls.OpUpdate, Update: want}}
	proposal := unhex(t, `00080022012c08000000020000000104000000011d186d696d693a2f2f642e6578616d706c652f752f6469616e6100000003`)
	if got := mls.Marshal(&p); !bytes.Equal(got, proposal) {
		t.Errorf("proposal %x\nwant %x", got, proposal)
	}
}

func TestDictionaryVector(t *testing.T) {
	var c Contents
	vectors[3].set(&c)
	dict := mls.AppDataDictionary{{ID: mls.ComponentID(policy.BaseRoomPolicy), Data: c.Encode(policy.BaseRoomPolicy)}}
	want := unhex(t, `14130027100000000100000001000600250026002c`)
	var e mls.Encoder
	e.Opaque(mls.Marshal(dict))
	if !bytes.Equal(e.Bytes(), want) {
		t.Errorf("got %x\nwant %x", e.Bytes(), want)
	}
}

// full are contents in which nothing is zero or absent.
func full() Contents {
	rules := policy.Default()
	rules.Base = policy.Base{ParentDependent: true, ParentRoom: "mimi://a.example/r/parent", MaxClients: limit(100), MaxUsers: limit(50),
		Pseudonyms: true, Discoverable: true, Components: []policy.Component{policy.RolesList}}
	rules.Roles[2].Description, rules.Roles[2].MinActive = "Ordinary people", 7
	rules.PreAuth = []policy.PreAuthEntry{{Claims: []policy.Claim{{CredentialType: 2, ID: "\x06\x03\x55\x1d\x11", Value: "URI:mimi://a.example/u/boss"}},
		Target: rules.Roles[3]}, {Target: rules.Roles[2]}}
	rules.Operational.Mandatory = policy.ClientCapabilities{Versions: []uint16{1}, CipherSuites: []uint16{1, 2}, Extensions: []uint16{6},
		Proposals: []uint16{8, 10}, Credentials: []uint16{2}, WireFormats: []uint16{1, 2}, Components: []policy.Component{policy.RolesList},
		SafeAAD: []policy.Component{policy.FrankAAD}, MediaTypes: []policy.MediaType{{Type: "text/plain", Parameters: []policy.Parameter{{Name: "charset", Value: "utf-8"}}}},
		ContentTypes: []uint8{1, 2}}
	rules.Operational.Pending = policy.PendingProposals{Strategy: policy.RandomDelay, MinDelayMS: 500, MaxDelayMS: 2000}
	rules.Status = &policy.StatusNotifications{Delivery: policy.Required, Read: policy.Forbidden}
	rules.JoinLink = &policy.JoinLinkRules{OnRequest: true, Link: "https://a.example/ask", MultiUser: true, Expiration: 3600}
	rules.JoinLinks = []string{"https://a.example/j/1", "https://a.example/j/2"}
	rules.LinkPreview = &policy.LinkPreviews{Autodetect: policy.Forbidden, Send: policy.Required, ProxyUse: policy.Required, Proxy: "https://p.example"}
	rules.Assets = &policy.Assets{Location: policy.UploadHub, Domains: []policy.UploadDomains{{Provider: "a.example", Hosts: []string{"x.a.example", "y.a.example"}}},
		AllowedDownloads: []policy.Download{policy.DownloadOHTTP}, ForbiddenDownload: []policy.Download{policy.DownloadDirect}, DefaultDownload: policy.DownloadOHTTP,
		MaxImage: 1, MaxAudio: 2, MaxVideo: 3, MaxAttachment: 4, ForbiddenTypes: []policy.MediaType{{Type: "image/svg+xml"}},
		PermittedTypes: []policy.MediaType{{Type: "image/png"}}}
	rules.Logging = &policy.Logging{Logging: policy.Optional, Clients: []string{"mimi://a.example/u/l", "mimi://b.example/u/l"}, MachineReadable: "https://m", HumanReadable: "https://h"}
	rules.History = &policy.History{Sharing: policy.Required, Roles: []policy.RoleIndex{3, 4}, Automatic: true, MaxTime: 86400}
	rules.Bots = []policy.Bot{{Name: "n", Description: "d", Homepage: "https://n", Local: true, CanTarget: true, PerUserContent: true}}
	rules.Expiration = &policy.Expiration{Expiring: policy.Required, Min: 60, Max: 120, Default: limit(90)}
	return Contents{
		Participants: []Participant{{"mimi://a.example", 5}, {"mimi://a.example/u/alice", 4}},
		Metadata: Metadata{URI: "mimi://a.example/r/clubhouse", Name: "Clubhouse ☕", Avatar: "https://a.example/a.png", Subject: "today", Mood: "good",
			Descriptions: []Description{{"text/plain;charset=utf-8", "de", "Ein Haus"}, {Content: "A house"}}},
		Rules: *rules,
		Other: mls.AppDataDictionary{{ID: 1, Data: []byte{4, 0, 1, 0, 2}}, {ID: 0x8b01, Data: []byte("private")}},
	}
}

// everyComponent lists the components that have a format.
func everyComponent() []policy.Component {
	var list []policy.Component
	for id := range policy.Component(0xffff) {
		if _, ok := formats(id); ok {
			list = append(list, id)
		}
	}
	return list
}

// TestRoundTrip encodes and decodes every component of full contents, and of empty ones; the bytes of the full ones are compared
// with testdata/components.json, which other implementations may use.
func TestRoundTrip(t *testing.T) {
	const file = "testdata/components.json"
	c := full()
	golden := make(map[string]string)
	var back, empty Contents
	for _, id := range everyComponent() {
		data := c.Encode(id)
		golden[id.String()] = hex.EncodeToString(data)
		if err := back.Decode(id, data); err != nil {
			t.Errorf("%v: %v", id, err)
		}
		zero := (&Contents{}).Encode(id)
		if err := empty.Decode(id, zero); err != nil {
			t.Errorf("empty %v: %v", id, err)
		} else if again := empty.Encode(id); !bytes.Equal(zero, again) {
			t.Errorf("empty %v: %x, then %x", id, zero, again)
		}
	}
	back.Other = c.Other
	if !reflect.DeepEqual(back, c) {
		t.Errorf("decoded\n%+v\nwant\n%+v", back, c)
	}
	if *update {
		text, err := json.MarshalIndent(golden, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(golden, want) {
		t.Errorf("bytes differ from %s (go test -update rewrites it, if that is meant)", file)
	}
}

// TestDictionary: a new room's dictionary holds every component of its contents, sorted, and reads back as the same.
func TestDictionary(t *testing.T) {
	c := full()
	dict := c.Dictionary()
	if want := len(everyComponent()) + len(c.Other); len(dict) != want {
		t.Errorf("%d components, want %d", len(dict), want)
	}
	var parsed mls.AppDataDictionary
	if err := mls.Unmarshal(mls.Marshal(dict), &parsed); err != nil { // checks the order
		t.Fatal(err)
	}
	s, err := New(mustRoom(t, "mimi://a.example/r/clubhouse"), parsed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*s.Rules(), c.Rules) || !reflect.DeepEqual(s.Metadata(), c.Metadata) ||
		!reflect.DeepEqual(s.Participants(), c.Participants) || len(s.Unreadable()) > 0 {
		t.Errorf("read back %+v %+v %+v %v", s.Rules(), s.Metadata(), s.Participants(), s.Unreadable())
	}
}

// TestLenientForms: forms in which other implementations may write a lone URI (mimi-room-policy-04 §5 contradicts itself).
func TestLenientForms(t *testing.T) {
	const parent = "mimi://a.example/r/p"
	one := append([]byte{0, 1, byte(len(parent))}, parent...) // one prefix, as the prose has it
	two := append([]byte{0, 1, byte(len(parent) + 1), byte(len(parent))}, parent...)
	rest := unhex(t, `01 00 00 00 01 00 00`)
	for _, data := range [][]byte{append(one, rest...), append(two, rest...)} {
		var c Contents
		if err := c.Decode(policy.BaseRoomPolicy, data); err != nil || c.Rules.Base.ParentRoom != parent || !c.Rules.Base.MultiDevice {
			t.Errorf("%x: %+v, %v", data, c.Rules.Base, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, test := range map[string]struct {
		id  policy.Component
		hex string
	}{
		"truncated list":            {policy.ParticipantList, `05 0161 000000`},
		"trailing bytes":            {policy.ParticipantList, `00 00`},
		"long prefix":               {policy.ParticipantList, `4000`},
		"bool 2":                    {policy.BaseRoomPolicy, `02 00 00 01 00 00 00 01 00 00`},
		"optionality 3":             {policy.StatusNotificationPolicy, `0003`},
		"unknown strategy":          {policy.MLSOperationalPolicy, strings.Repeat("00", 30) + `00 01 01 03`},
		"name with NUL":             {policy.RoomMetadata, `00 0100 00 00 00 00`},
		"name not UTF-8":            {policy.RoomMetadata, `00 01ff 00 00 00 00`},
		"odd vector of uint16":      {policy.BaseRoomPolicy, `00 00 00 01 00 00 00 01 00 01 00`},
		"presence byte 2":           {policy.MessageExpirationPolicy, `00 00000001 00000002 02`},
		"role of length zero":       {policy.RolesList, `01 00`},
		"unknown download":          {policy.AssetPolicy, `00 00 01 03 00 00` + strings.Repeat("00", 34)},
		"nothing where a byte must": {policy.ChatHistoryPolicy, ``},
	} {
		c := full()
		if err := c.Decode(test.id, unhex(t, test.hex)); !errors.Is(err, mls.ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(c, full()) {
			t.Errorf("%s changed what was there", name)
		}
	}
	var c Contents
	if err := c.Decode(policy.FrankingAgent, nil); !errors.Is(err, policy.ErrInvalid) {
		t.Errorf("a component without a format: %v", err)
	}
	if c.Encode(policy.FrankingAgent) != nil {
		t.Error("a component without a format was encoded")
	}
}

// TestComponents: what the MLS engine is told about AppDataUpdates.
func TestComponents(t *testing.T) {
	c := full()
	at := func(id policy.Component) []byte { return c.Encode(id) }
	list := func(u ListUpdate) []byte { return u.Marshal() }
	links := func(u LinksUpdate) []byte { return mls.Marshal(&u) }
	two := []Participant{{"mimi://a.example", 5}, {"mimi://a.example/u/alice", 4}, {"mimi://b.example/u/bob", 2}, {"mimi://b.example/u/ben", 2}}
	for _, test := range []struct {
		name    string
		id      policy.Component
		old     []byte
		updates [][]byte
		want    []byte // nil: refused
	}{
		{"first participants", policy.ParticipantList, nil, [][]byte{list(ListUpdate{Added: two[:1]})}, (&Contents{Participants: two[:1]}).Encode(policy.ParticipantList)},
		{"two updates mean the old list", policy.ParticipantList, at(policy.ParticipantList),
			[][]byte{list(ListUpdate{Added: two[2:3], Removed: []uint32{0}}), list(ListUpdate{Added: two[3:], Removed: []uint32{1}})},
			(&Contents{Participants: two[2:]}).Encode(policy.ParticipantList)},
		{"index out of range", policy.ParticipantList, at(policy.ParticipantList), [][]byte{list(ListUpdate{Removed: []uint32{2}})}, nil},
		{"huge index", policy.ParticipantList, at(policy.ParticipantList), [][]byte{list(ListUpdate{Changed: []IndexRole{{1<<32 - 1, 2}}})}, nil},
		{"one index twice", policy.ParticipantList, at(policy.ParticipantList), [][]byte{list(ListUpdate{Removed: []uint32{0}}), list(ListUpdate{Changed: []IndexRole{{0, 2}}})}, nil},
		{"who is there is added", policy.ParticipantList, at(policy.ParticipantList), [][]byte{list(ListUpdate{Added: two[1:2]})}, nil},
		{"added twice", policy.ParticipantList, at(policy.ParticipantList), [][]byte{list(ListUpdate{Added: two[2:3]}), list(ListUpdate{Added: two[2:3]})}, nil},
		{"malformed list", policy.ParticipantList, at(policy.ParticipantList), [][]byte{{1}}, nil},
		{"links", policy.JoinLinks, at(policy.JoinLinks), [][]byte{links(LinksUpdate{Removed: []uint32{0}, Added: []string{"x"}})},
			unhex(t, `18 1568747470733a2f2f612e6578616d706c652f6a2f32 0178`)},
		{"no such link", policy.JoinLinks, at(policy.JoinLinks), [][]byte{links(LinksUpdate{Removed: []uint32{2}})}, nil},
		{"a link twice", policy.JoinLinks, at(policy.JoinLinks), [][]byte{links(LinksUpdate{Removed: []uint32{0, 0}})}, nil},
		{"metadata", policy.RoomMetadata, nil, [][]byte{at(policy.RoomMetadata)}, at(policy.RoomMetadata)},
		{"metadata twice", policy.RoomMetadata, nil, [][]byte{at(policy.RoomMetadata), at(policy.RoomMetadata)}, nil},
		{"malformed metadata", policy.RoomMetadata, nil, [][]byte{{1}}, nil},
		{"malformed roles", policy.RolesList, nil, [][]byte{{1}, at(policy.RolesList)}, nil},
		{"the last one wins", policy.StatusNotificationPolicy, nil, [][]byte{{0, 0}, {0, 2}}, []byte{0, 2}},
		{"what we cannot read stands", policy.MLSOperationalPolicy, nil, [][]byte{{9}}, []byte{9}},
		{"app_components", policy.AppComponents, nil, [][]byte{{2, 0, 1}}, []byte{2, 0, 1}},
		{"unknown", 0x0999, nil, [][]byte{{}}, nil},
		{"frank_aad is no state", policy.FrankAAD, nil, [][]byte{{}}, nil},
	} {
		got, err := Components{}.Update(mls.ComponentID(test.id), test.old, test.updates)
		if test.want == nil && !errors.Is(err, policy.ErrInvalid) && !errors.Is(err, mls.ErrSyntax) {
			t.Errorf("%s: %x, %v", test.name, got, err)
		}
		if test.want != nil && (err != nil || !bytes.Equal(got, test.want)) {
			t.Errorf("%s: %x, %v; want %x", test.name, got, err, test.want)
		}
	}
	for id, ok := range map[policy.Component]bool{policy.BotPolicy: true, policy.PreAuthList: true, policy.ParticipantList: false,
		policy.RolesList: false, policy.BaseRoomPolicy: false, policy.RoomMetadata: false, 0x0999: false} {
		if err := (Components{}).Remove(mls.ComponentID(id)); (err == nil) != ok {
			t.Errorf("removal of %v: %v", id, err)
		}
	}
	if (Components{}).Ephemeral(mls.ComponentAppAck, nil) != nil || (Components{}).Ephemeral(0x0022, nil) == nil {
		t.Error("AppEphemeral: AppAck alone is known")
	}
}

func mustRoom(t testing.TB, text string) uri.Room {
	t.Helper()
	r, err := uri.ParseRoom(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
