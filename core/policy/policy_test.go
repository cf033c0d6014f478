package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestRegistry(t *testing.T) {
	names := make(map[string]bool)
	var last Info
	for i, info := range Capabilities() {
		if i > 0 && info.Number <= last.Number {
			t.Errorf("%v is out of order", info.Number)
		}
		if names[info.Name] || info.Name == "" || info.Section == "" {
			t.Errorf("%#04x: name %q, section %q", uint16(info.Number), info.Name, info.Section)
		}
		names[info.Name] = true
		if got, ok := info.Number.Info(); !ok || got != info || info.Number.String() != info.Name {
			t.Errorf("lookup of %s gave %v", info.Name, got)
		}
		last = info
	}
	if got := Capability(0x0012).String(); got != "capability 0x0012" {
		t.Errorf("unknown capability is %q", got)
	}
	var previous Component
	for i, l := range licenses {
		if i > 0 && l.Component <= previous {
			t.Errorf("%s is out of order", l.Name)
		}
		if got, ok := l.Component.License(); !ok || got != l || l.Component.String() != l.Name {
			t.Errorf("lookup of %s gave %v", l.Name, got)
		}
		previous = l.Component
	}
	if _, ok := FrankAAD.License(); ok {
		t.Error("frank_aad lives in authenticated data, not in the GroupContext")
	}
}

// TestErrors: a refusal names rule and section, and says which kind it is.
func TestErrors(t *testing.T) {
	err := Default().Allowed(Actor{Role: MemberRole}, Action{Use: CanKick, From: 2, To: 2})
	if !errors.Is(err, ErrDenied) || errors.Is(err, ErrInvalid) {
		t.Errorf("kind of %v", err)
	}
	if got := err.Error(); got != "not allowed: role 2 lacks canKick (mimi-room-policy-04 §8.1.2)" {
		t.Errorf("text %q", got)
	}
}

func TestDefaults(t *testing.T) {
	for name, r := range map[string]*Rules{"default": Default(), "direct message": DirectMessage()} {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(r.Base.Components, r.Components()) {
			t.Errorf("%s lists %v, holds %v", name, r.Base.Components, r.Components())
		}
		for _, role := range r.Roles {
			if !slices.IsSorted(role.Capabilities) {
				t.Errorf("%s: capabilities of %s are not sorted", name, role.Name)
			}
		}
	}
	a, b := Default(), Default()
	a.Roles[2].Capabilities[0] = CanBan
	if b.Roles[2].Holds(CanBan) {
		t.Error("two defaults share memory")
	}
}

// TestValidate breaks one rule at a time.
func TestValidate(t *testing.T) {
	for name, spoil := range map[string]func(*Rules){
		"no role 0":                    func(r *Rules) { r.Roles = r.Roles[1:] },
		"a role twice":                 func(r *Rules) { r.Roles = append(r.Roles, r.Roles[2]) },
		"max below min":                func(r *Rules) { r.Role(AdminRole).Max = limit(0) },
		"max active below min active":  func(r *Rules) { r.Role(BannedRole).MinActive = 1 },
		"unknown target":               func(r *Rules) { r.Role(AdminRole).Changes = changes("2:8") },
		"unknown source":               func(r *Rules) { r.Role(AdminRole).Changes = changes("8:2") },
		"canOpenJoin on a member":      func(r *Rules) { r.Role(MemberRole).Capabilities = []Capability{CanOpenJoin} },
		"banning without a banned":     func(r *Rules) { r.Role(BannedRole).Name = "Banned" },
		"fixed with canAddParticipant": func(r *Rules) { r.Base.FixedMembership = true },
		"preauth to 0":                 func(r *Rules) { r.PreAuth = []PreAuthEntry{{Target: *r.Role(NoRole)}} },
		"preauth to nowhere":           func(r *Rules) { r.PreAuth = []PreAuthEntry{{Target: Role{Index: 8}}} },
		"preauth with another role":    func(r *Rules) { r.PreAuth = []PreAuthEntry{{Target: Role{Index: MemberRole}}} },
		"dependent without a parent":   func(r *Rules) { r.Base.ParentDependent = true },
		"parent, not dependent":        func(r *Rules) { r.Base.ParentRoom = "mimi://a.example/r/p" },
		"two links on request":         func(r *Rules) { r.JoinLink, r.JoinLinks = &JoinLinkRules{OnRequest: true}, []string{"a", "b"} },
		"autodetect required":          func(r *Rules) { r.LinkPreview = &LinkPreviews{Autodetect: Required, ProxyUse: Forbidden} },
		"no preview proxy":             func(r *Rules) { r.LinkPreview = &LinkPreviews{ProxyUse: Required} },
		"a forbidden preview proxy":    func(r *Rules) { r.LinkPreview = &LinkPreviews{ProxyUse: Forbidden, Proxy: "https://p.example"} },
		"hub assets, two providers":    func(r *Rules) { r.Assets = &Assets{Location: UploadHub, Domains: make([]UploadDomains, 2)} },
		"default download forbidden":   func(r *Rules) { r.Assets = &Assets{ForbiddenDownload: []Download{DownloadDirect}} },
		"download both ways": func(r *Rules) {
			r.Assets = &Assets{AllowedDownloads: []Download{DownloadOHTTP}, ForbiddenDownload: []Download{DownloadOHTTP}}
		},
		"nobody logs": func(r *Rules) { r.Logging = &Logging{Logging: Required} },
		"two loggers of one provider": func(r *Rules) {
			r.Logging = &Logging{Clients: []string{"mimi://a.example/u/l", "mimi://A.example/u/m"}}
		},
		"history by the banned":   func(r *Rules) { r.History = &History{Roles: []RoleIndex{BannedRole}} },
		"history by the inactive": func(r *Rules) { r.History = &History{Roles: []RoleIndex{EnforcerRole}} },
		"history by nobody":       func(r *Rules) { r.History = &History{Roles: []RoleIndex{8}} },
		"a local bot with a role": func(r *Rules) { r.Bots = []Bot{{Local: true, Role: MemberRole}} },
		"a bot without its role":  func(r *Rules) { r.Bots = []Bot{{Role: 8}} },
		"expiry upside down":      func(r *Rules) { r.Expiration = &Expiration{Min: 2, Max: 1} },
		"default expiry too long": func(r *Rules) { r.Expiration = &Expiration{Max: 1, Default: limit(2)} },
		"times upside down":       func(r *Rules) { r.Operational.LeafUpdate = TimeRange{Min: 2, Default: 1, Max: 3} },
		"delays upside down":      func(r *Rules) { r.Operational.Pending.MinDelayMS = 1 },
		"mandatory and forbidden": func(r *Rules) {
			r.Operational.Mandatory.CipherSuites, r.Operational.Forbidden.CipherSuites = []uint16{1, 2}, []uint16{2}
		},
	} {
		r := Default()
		spoil(r)
		if err := r.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCensus(t *testing.T) {
	rules := Default()
	rules.Base.MaxUsers, rules.Base.MaxClients, rules.Base.MultiDevice = limit(5), limit(6), false
	rules.Role(OwnerRole).MinActive = 1
	rules.Role(MemberRole).Max, rules.Role(MemberRole).MaxActive = limit(3), limit(2)
	base := func() *Census {
		return &Census{Users: 4, Clients: 4, Roles: map[RoleIndex]Tally{
			BannedRole: {All: 1}, MemberRole: {All: 2, Active: 2}, AdminRole: {All: 1, Active: 1}, OwnerRole: {All: 1, Active: 1}}}
	}
	for _, test := range []struct {
		name   string
		change func(c *Census)
		want   string
	}{
		{"nothing", func(c *Census) {}, ""},
		{"one more user", func(c *Census) { c.Users = 5 }, ""},
		{"too many users", func(c *Census) { c.Users = 6 }, "at most 5 users"},
		{"too many clients", func(c *Census) { c.Clients = 7 }, "at most 6 clients"},
		{"a second client", func(c *Census) { c.Extra = 1 }, "one client only"},
		{"last admin gone", func(c *Census) { c.Roles[AdminRole] = Tally{} }, "role 3 has at least 1 participants"},
		{"last active owner gone", func(c *Census) { c.Roles[OwnerRole] = Tally{All: 1} }, "role 4 has at least 1 active"},
		{"a third member", func(c *Census) { c.Roles[MemberRole] = Tally{All: 3, Active: 2} }, ""},
		{"a fourth member", func(c *Census) { c.Roles[MemberRole] = Tally{All: 4, Active: 2} }, "role 2 has at most 3 participants"},
		{"a third active", func(c *Census) { c.Roles[MemberRole] = Tally{All: 3, Active: 3} }, "role 2 has at most 2 active"},
		{"an active banned", func(c *Census) { c.Roles[BannedRole] = Tally{All: 1, Active: 1} }, "role 1 has at most 0 active"},
	} {
		after := base()
		test.change(after)
		checkRefusal(t, test.name, rules.CheckCensus(base(), after), test.want)
	}
	// A room out of bounds may improve, but not get worse.
	bad := &Census{Users: 9, Clients: 9, Extra: 2, Roles: map[RoleIndex]Tally{MemberRole: {All: 9, Active: 9}}}
	better := &Census{Users: 8, Clients: 8, Extra: 1, Roles: map[RoleIndex]Tally{MemberRole: {All: 8, Active: 8}}}
	checkRefusal(t, "better", rules.CheckCensus(bad, better), "")
	if rules.CheckCensus(better, bad) == nil {
		t.Error("worse was allowed")
	}
	checkRefusal(t, "the same limits", rules.CheckLimits(rules, bad), "")
	checkRefusal(t, "new limit on users", rules.CheckLimits(Default(), bad), "at most 5 users, there are 9")
	few := Default()
	few.Role(MemberRole).Min = 10
	checkRefusal(t, "new minimum", few.CheckLimits(Default(), bad), "role 2 has at least 10 participants")
	few = Default()
	few.Role(MemberRole).MaxActive = limit(8)
	checkRefusal(t, "new maximum", few.CheckLimits(Default(), bad), "role 2 has at most 8 active")
	few = Default()
	few.Base.MaxClients = limit(8)
	checkRefusal(t, "new limit on clients", few.CheckLimits(Default(), bad), "at most 8 clients, there are 9")
	few = Default()
	few.Base.MultiDevice = false
	checkRefusal(t, "no more second clients", few.CheckLimits(Default(), bad), "one client only")
}

// checkRefusal wants a refusal by policy whose text holds want, or none where want is empty.
func checkRefusal(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case want != "" && (!errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", name, err, want)
	}
}

func TestLedger(t *testing.T) {
	join := func(u string) func(*Ledger) error {
		return func(l *Ledger) error { return l.Participant(u, MemberRole) }
	}
	leave := func(u string) func(*Ledger) error { return func(l *Ledger) error { return l.Participant(u, NoRole) } }
	update := func(c Component) func(*Ledger) error { return func(l *Ledger) error { return l.Update(c) } }
	remove := func(c Component) func(*Ledger) error { return func(l *Ledger) error { return l.Remove(c) } }
	for _, test := range []struct {
		name  string
		steps []func(*Ledger) error
		ok    bool
	}{
		{"two users", []func(*Ledger) error{join("a"), leave("b")}, true},
		{"a user twice", []func(*Ledger) error{join("a"), leave("a")}, false},
		{"roles and a list change", []func(*Ledger) error{update(RolesList), leave("a")}, false},
		{"a list change and roles", []func(*Ledger) error{leave("a"), update(RolesList)}, false},
		{"preauth and a removal", []func(*Ledger) error{update(PreAuthList), leave("a")}, true},
		{"preauth and an addition", []func(*Ledger) error{update(PreAuthList), join("a")}, false},
		{"an addition and preauth removed", []func(*Ledger) error{join("a"), remove(PreAuthList)}, false},
		{"metadata once", []func(*Ledger) error{update(RoomMetadata), join("a")}, true},
		{"metadata twice", []func(*Ledger) error{update(RoomMetadata), update(RoomMetadata)}, false},
		{"another component twice", []func(*Ledger) error{update(BotPolicy), update(BotPolicy)}, true},
		{"update, then remove", []func(*Ledger) error{update(BotPolicy), remove(BotPolicy)}, false},
		{"remove, then update", []func(*Ledger) error{remove(BotPolicy), update(BotPolicy)}, false},
		{"remove twice", []func(*Ledger) error{remove(BotPolicy), remove(BotPolicy)}, false},
	} {
		var l Ledger
		var err error
		for i, step := range test.steps {
			if err = step(&l); err != nil && i < len(test.steps)-1 {
				t.Errorf("%s: step %d: %v", test.name, i, err)
			}
		}
		if (err == nil) != test.ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestMessageNeeds(t *testing.T) {
	for _, test := range []struct {
		m    Message
		want []Capability // beside canSendMessage; nil: nobody may
	}{
		{Message{}, []Capability{}},
		{Message{Reply: true}, []Capability{CanReplyToMessage}},
		{Message{Reply: true, Topic: true}, []Capability{CanReplyInTopic}},
		{Message{Topic: true}, []Capability{CanStartTopic}},
		{Message{Reaction: true, Reply: true}, []Capability{CanReactToMessage}},
		{Message{Reaction: true, Replaces: true, Own: true}, []Capability{CanEditReaction}},
		{Message{Reaction: true, Replaces: true}, nil},
		{Message{Reaction: true, Replaces: true, Own: true, Deleted: true}, []Capability{CanDeleteOwnReaction}},
		{Message{Reaction: true, Replaces: true, Deleted: true}, []Capability{CanDeleteOtherReaction}},
		{Message{Replaces: true, Own: true, Reply: true}, []Capability{CanEditOwnMessage}},
		{Message{Replaces: true}, nil},
		{Message{Replaces: true, Own: true, Deleted: true}, []Capability{CanDeleteOwnMessage}},
		{Message{Replaces: true, Deleted: true}, []Capability{CanDeleteOtherMessage}},
		{Message{Replaces: true, Own: true, Topic: true, TopicChanged: true}, []Capability{CanEditOwnMessage, CanEditOwnTopic}},
		{Message{Replaces: true, Topic: true, TopicChanged: true}, []Capability{CanEditOtherTopic}},
		{Message{Links: true}, []Capability{CanSendLink}},
		{Message{Links: true, Previews: true}, []Capability{CanSendLinkPreview}},
		{Message{Assets: []AssetKind{Image, Audio, Video, Attachment}},
			[]Capability{CanUploadImage, CanUploadAudio, CanUploadVideo, CanUploadAttachment}},
	} {
		got, err := test.m.Needs()
		if test.want == nil {
			if !errors.Is(err, ErrDenied) {
				t.Errorf("%+v: needs %v, %v", test.m, got, err)
			}
			continue
		}
		if want := append([]Capability{CanSendMessage}, test.want...); err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v: needs %v, %v; want %v", test.m, got, err, want)
		}
	}
	rules := Default()
	if err := rules.AllowedMessage(MemberRole, Message{Reply: true, Assets: []AssetKind{Image}}); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		role RoleIndex
		m    Message
	}{
		{NoRole, Message{}}, {BannedRole, Message{}}, {EnforcerRole, Message{}}, {8, Message{}},
		{MemberRole, Message{Replaces: true, Deleted: true}}, {AdminRole, Message{Replaces: true}},
	} {
		if err := rules.AllowedMessage(test.role, test.m); !errors.Is(err, ErrDenied) {
			t.Errorf("role %d sent %+v: %v", test.role, test.m, err)
		}
	}
}

func TestExpiration(t *testing.T) {
	within := Expiration{Expiring: Required, Min: 60, Max: 100}
	for _, test := range []struct {
		p       *Expiration
		seconds uint32
		want    string
	}{
		{nil, 5, ""}, {&within, 60, ""}, {&within, 100, ""}, {&within, 0, "must expire"}, {&within, 59, "60 to 100"}, {&within, 101, "60 to 100"},
		{&Expiration{Expiring: Forbidden}, 0, ""}, {&Expiration{Expiring: Forbidden}, 1, "must not expire"},
		{&Expiration{Max: 9}, 0, ""},
	} {
		checkRefusal(t, "expiry", test.p.Admits(test.seconds), test.want)
	}
}

func TestAssets(t *testing.T) {
	png, svg, plain := MediaType{Type: "image/png"}, MediaType{Type: "image/svg+xml"}, MediaType{Type: "text/plain"}
	latin := MediaType{Type: "TEXT/plain", Parameters: []Parameter{{"Charset", "latin1"}}}
	p := &Assets{
		Location: UploadLocalProvider,
		Domains:  []UploadDomains{{"a.example", []string{"assets.a.example"}}, {"hub.example", []string{"up.hub.example"}}},
		MaxImage: 10, MaxAttachment: 100,
		ForbiddenTypes: []MediaType{svg, {Type: "text/plain", Parameters: []Parameter{{"charset", "latin1"}}}},
	}
	ok := Asset{Kind: Image, Type: png, Size: 10, Host: "Assets.A.example", Sender: "A.example"}
	for _, test := range []struct {
		name   string
		change func(a *Asset, p *Assets)
		want   string
	}{
		{"good", func(a *Asset, p *Assets) {}, ""},
		{"too large", func(a *Asset, p *Assets) { a.Size = 11 }, "at most 10"},
		{"large but a file", func(a *Asset, p *Assets) { a.Size, a.Kind = 11, Attachment }, ""},
		{"no audio at all", func(a *Asset, p *Assets) { a.Kind = Audio }, "at most 0"},
		{"forbidden type", func(a *Asset, p *Assets) { a.Type = svg }, "forbidden"},
		{"forbidden with parameters", func(a *Asset, p *Assets) { a.Type = latin }, "forbidden"},
		{"other parameters", func(a *Asset, p *Assets) { a.Type = plain }, ""},
		{"not permitted", func(a *Asset, p *Assets) { p.PermittedTypes = []MediaType{} }, "not among those permitted"},
		{"permitted", func(a *Asset, p *Assets) { p.PermittedTypes = []MediaType{{Type: "IMAGE/PNG"}} }, ""},
		{"another provider's host", func(a *Asset, p *Assets) { a.Host = "up.hub.example" }, "does not lie"},
		{"a provider without hosts", func(a *Asset, p *Assets) { a.Sender = "b.example" }, "does not lie"},
		{"hub, but elsewhere", func(a *Asset, p *Assets) { p.Location = UploadHub }, "does not lie"},
		{"hub", func(a *Asset, p *Assets) { p.Location, a.Host = UploadHub, "up.hub.example" }, ""},
		{"anywhere", func(a *Asset, p *Assets) { p.Location, a.Host = UploadAnywhere, "x.example" }, ""},
	} {
		a, q := ok, *p
		test.change(&a, &q)
		checkRefusal(t, test.name, q.Admits(a, "hub.example"), test.want)
	}
	var none *Assets
	checkRefusal(t, "no policy", none.Admits(ok, "hub.example"), "")
	for _, test := range []struct {
		mediaType string
		render    bool
		up, down  Capability
	}{
		{"image/png", true, CanUploadImage, CanDownloadImage}, {"Audio/ogg", true, CanUploadAudio, CanDownloadAudio},
		{"video/mp4", true, CanUploadVideo, CanDownloadVideo}, {"application/pdf", true, CanUploadAttachment, CanDownloadAttachment},
		{"image/png", false, CanUploadAttachment, CanDownloadAttachment},
	} {
		if k := KindOf(test.mediaType, test.render); k.Upload() != test.up || k.Download() != test.down {
			t.Errorf("%s render=%v is kind %d", test.mediaType, test.render, k)
		}
	}
}

func TestOperational(t *testing.T) {
	p := defaultOperational()
	p.Mandatory = ClientCapabilities{CipherSuites: []uint16{1}, Components: []Component{ParticipantList},
		MediaTypes: []MediaType{{Type: "application/mimi-content"}}}
	p.Forbidden = ClientCapabilities{Credentials: []uint16{1}}
	good := ClientCapabilities{CipherSuites: []uint16{1, 2}, Components: []Component{ParticipantList, RolesList}, Credentials: []uint16{2},
		MediaTypes: []MediaType{{Type: "text/plain"}, {Type: "application/mimi-content"}}}
	checkRefusal(t, "good", p.AdmitsClient(good, 60), "")
	checkRefusal(t, "long-lived", p.AdmitsClient(good, p.MaxKeyPackageLifetime+1), "good for")
	bad := good
	bad.CipherSuites = []uint16{2}
	checkRefusal(t, "without the suite", p.AdmitsClient(bad, 60), "lacks a mandatory")
	bad = good
	bad.MediaTypes = nil
	checkRefusal(t, "without the media type", p.AdmitsClient(bad, 60), "lacks a mandatory")
	bad = good
	bad.Credentials = []uint16{1, 2}
	checkRefusal(t, "basic", p.AdmitsClient(bad, 60), "has a forbidden")
	var none *Operational
	checkRefusal(t, "no policy", none.AdmitsClient(ClientCapabilities{}, 1<<40), "")
	if !p.AdmitsHandshake(1) || p.AdmitsHandshake(2) || !none.AdmitsHandshake(2) {
		t.Error("handshake formats")
	}
}
