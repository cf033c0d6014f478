package content

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mimigate/core/uri"
)

// official are the example files of mimi-content-09 §5 and their published message ids.
var official = map[string]string{
	"original":     "017ce54837404c3696e0c747b985cb172716d0ed0a3d249ca63ace7d82a096f4",
	"reply":        "015354973c2b65ca937bf1e035ae53a5ab80e947afa43d46920d4202e5cc0b27",
	"reaction":     "0158c4288911e50a8f6be3f47746b6682f10fd91bc8c05557aa589a3157aff68",
	"mention":      "018d825adf9f6be00dcafc5704c4102f5022e74219d0b603e4ba7622654042af",
	"mention-html": "01967ff8e9a66819738ad5cf26d2e0388a3b81d86b0f61d129c077d043ee2a4e",
	"edit":         "014028c0deddbdea56bec26172f6ede953d11024cb82b8192b5e2aea62d7fb47",
	"delete":       "011d9efc78d04d4dcf4d82b07d5199bbef37011c1f0c7e004b6111c6dda504b4",
	"unlike":       "013aadbb8f313253c8930f4e93c6ca54b2ed06d258185bdcec3870534c8a4ec4",
	"expiring":     "01e59db8173939facc2c8a4a0f0ae8d0c7a11a81239626630c9464a8d6717a03",
	"attachment":   "0176180c7d19a925021fe446d241134d05c38e0d999cdc0f39c391d2377ed9d1",
	"conferencing": "01496d15a8dba28d7397f9868b70768e4a67f765d5b5b1ae9e03848c5fdeb0ba",
	"multipart-1":  "01da5a515ec5db42cc4dcc19b90c3c31245d8a1cfcce11318f24eb11dce0990e",
	"multipart-2":  "01d65918c6c51c8e76546337276ae6f4bfd873d867d5cb57c76bcdca3d999dd7",
	"multipart-3":  "01cfebeadbdb83c1eefb6403ba4852daf8bbbf9cd53bf5035a74d5d741950c9f",
}

// example reads an official example, and skips the test where the files are not beside the repository.
func example(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "mimi-content", name+".cbor"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the official examples are not at ../shared/vectors/mimi-content beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOfficialExamples(t *testing.T) {
	room, err := uri.ParseRoom("mimi://example.com/r/engineering_team")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range official {
		t.Run(name, func(t *testing.T) {
			data := example(t, name)
			m, err := Unmarshal(data)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Marshal(m)
			if err != nil || !bytes.Equal(again, data) {
				t.Fatalf("re-encoded: %v\n got %x\nwant %x", err, again, data)
			}
			sender, err := m.Sender()
			if err != nil {
				t.Fatal(err)
			}
			id, err := Verify(m, data, sender, room)
			if err != nil || id.String() != want {
				t.Errorf("id %s, %v; want %s", id, err, want)
			}
			if err := m.CheckTimes(time.UnixMilli(1644389403227), time.Time{}, time.UnixMilli(1644389403227)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOfficialMeaning looks into the examples: what they are, and some fields of each kind.
func TestOfficialMeaning(t *testing.T) {
	read := func(name string) *Message {
		m, err := Unmarshal(example(t, name))
		if err != nil {
			t.Fatal(name, err)
		}
		return m
	}
	for name, want := range map[string][]Kind{
		"original": {KindFormatted}, "reply": {KindFormatted, KindReply}, "reaction": {KindReaction}, "mention-html": {KindFormatted, KindReply},
		"edit": {KindFormatted, KindReply, KindEdit}, "delete": {KindDelete}, "unlike": {KindReaction}, "expiring": {KindFormatted, KindExpiring},
		"attachment": {KindVideo}, "conferencing": {KindThread, KindCall}, "multipart-1": {KindFormatted},
		"multipart-2": {KindReaction}, "multipart-3": {KindCaptioned},
	} {
		if got := read(name).Kinds(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	file := read("attachment").Body.Body.(External)
	if file.EncAlg != EncAES128GCM || len(file.Key) != 16 || len(file.Nonce) != 12 || len(file.AAD) != 0 || file.Size != 708234961 ||
		file.HashAlg != HashSHA256 || len(file.Hash) != 32 || file.Filename != "bigfile.mp4" {
		t.Errorf("attachment: %+v", file)
	}
	if m := read("expiring"); *m.Expires != (Expiry{Seconds: 1644390004}) || m.Salt[0] != 0x33 {
		t.Errorf("expiring: %+v", m)
	}
	if got := strings.Join(read("multipart-2").Reactions(), ""); got != "❤🥳🤞" {
		t.Errorf("multipart-2: %q", got)
	}
	if m := read("multipart-3"); m.Body.Body.(Multi).Semantics != ChooseOne {
		t.Errorf("multipart-3: %+v", m.Body)
	}
}

// full uses every field and every kind of part.
func full() *Message {
	image := External{ContentType: "image/png", URL: "https://a.example/x", Expires: 7, Size: 1 << 33, EncAlg: EncAES128GCM,
		Key: bytes.Repeat([]byte{1}, 16), Nonce: bytes.Repeat([]byte{2}, 12), AAD: []byte{3}, HashAlg: HashSHA256,
		Hash: bytes.Repeat([]byte{4}, 32), Description: "a ⛵", Filename: "s.png"}
	return &Message{
		Salt: Salt{1, 2, 3}, Replaces: idA, InReplyTo: idB, TopicID: []byte("topic"), Expires: &Expiry{Relative: true, Seconds: 60},
		SenderURI: "mimi://A.example/u/b", RoomURI: "mimi://a.example/r/c", SentAt: time.Unix(1762760377, 462917000).UTC(),
		External: &ExternalID{ID: []byte("$event"), Scope: "matrix.example"},
		Unknown: []Extension{
			{ExtensionKey{Number: 256}, []byte{0x80}},
			{ExtensionKey{Number: -1}, []byte{0xf7}}, {ExtensionKey{Number: -500}, []byte{0xc1, 0x00}},
			{ExtensionKey{Text: "z"}, []byte{0xf9, 0x7e, 0x00}}, {ExtensionKey{Text: "aa"}, []byte{0xa1, 0x41, 0x00, 0x01}},
		},
		Body: Part{Disposition: Render, Language: "de", Body: Multi{Semantics: SingleUnit, Parts: []Part{
			{Disposition: 200, Body: image, Media: Media{Role: MediaSticker, Width: 3, Height: 4}},
			{Disposition: Inline, Body: Single{ContentType: TypeMarkdown, Content: []byte("*x*")}, Media: Media{Duration: 1500 * time.Millisecond, ViewOnce: true}},
			{Language: "x"},
		}}},
	}
}

func TestRoundTrip(t *testing.T) {
	data, err := Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if want := full(); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	data[len(data)-1] ^= 1 // the message must not alias what it was read from
	if again, _ := Marshal(got); bytes.Equal(again, data) {
		t.Error("the message changed with the octets it was decoded from")
	}
}

// body is a message around extensions and a body part, both in hexadecimal.
func body(extensions, part string) string {
	return "8750" + strings.Repeat("07", 16) + "f640f6f6" + extensions + part
}

const textPart = "8501600160" + "4178" // [render, "", single, "", 'x']

// TestUnknownExtensions are kept to the octet and in order; known ones in another form than ours too.
func TestUnknownExtensions(t *testing.T) {
	for _, c := range []struct{ name, extensions string }{
		{"none", "a0"},
		{"reserved number", "a10060"},
		{"subject", "a10561" + "78"},
		{"four levels", "a1190100" + "8182" + "421234" + "d820" + "6161"},
		{"undefined", "a105f7"},
		{"tagged time", "a105c11a5f000000"},
		{"bignum", "a105c249010000000000000000"},
		{"floats", "a10584" + "f93c00" + "fa47c35000" + "fb3ff199999999999a" + "f97c00"},
		{"half NaN", "a105f97e00"},
		{"timestamp with a needless fraction", "a103a2011a691119792200"},
		{"timestamp of a strange type", "a10360"},
		{"external id with a text that is a URI", "a10482414163613a62"},
		{"external id with PEN 0", "a10482414100"},
		{"media of a part that is not there", "a16e6d696d69676174652e6d65646961a101a10101"},
		{"media that says nothing", "a16e6d696d69676174652e6d65646961a100a0"},
		{"keys of all kinds", "a5" + "0561" + "61" + "1b001fffffffffffff" + "00" + "20" + "00" + "3b001ffffffffffffe" + "00" + "6162" + "a14100" + "00"},
	} {
		data, _ := hex.DecodeString(body(c.extensions, textPart))
		m, err := Unmarshal(data)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if again, err := Marshal(m); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s: %v\n got %x\nwant %x", c.name, err, again, data)
		}
		if n := len(m.Unknown); n == 0 && c.name != "none" {
			t.Errorf("%s: not kept as unknown: %+v", c.name, m)
		}
	}
}

func TestKnownExtensions(t *testing.T) {
	for _, c := range []struct {
		extensions string
		is         func(*Message) bool
	}{
		{"a103a1011a69111979", func(m *Message) bool { return m.SentAt.Equal(time.Unix(1762728313, 0)) }},
		{"a103a2011a69111979251a00071045", func(m *Message) bool { return m.SentAt.Nanosecond() == 462917000 }},
		{"a103a2011a691119792801", func(m *Message) bool { return m.SentAt.Nanosecond() == 1 }},
		{"a1048250" + "08bbeeb8175c4a64a8926a5a23bb2811" + "190137", func(m *Message) bool { return m.External.PEN == 311 && len(m.External.ID) == 16 }},
		{"a10482414161" + "61", func(m *Message) bool { return m.External.Scope == "a" }},
		{"a104824141d82063613a62", func(m *Message) bool { return m.External.Scope == "a:b" }},
		{"a16e6d696d69676174652e6d65646961a100a10103", func(m *Message) bool { return m.Body.Media.Role == MediaSticker }},
	} {
		data, _ := hex.DecodeString(body(c.extensions, textPart))
		m, err := Unmarshal(data)
		if err != nil || len(m.Unknown) != 0 || !c.is(m) {
			t.Errorf("%s: %+v, %v", c.extensions, m, err)
			continue
		}
		if again, err := Marshal(m); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s: encodes to %x, %v", c.extensions, again, err)
		}
	}
}

// TestRefused has a row for each reason to discard a message, and each way not to be deterministic.
func TestRefused(t *testing.T) {
	salt := "50" + strings.Repeat("07", 16)
	id := "5820" + "01" + strings.Repeat("00", 31)
	nested := func(levels int) string {
		p := "83016000"
		for range levels - 1 {
			p = "8501600301" + "82" + p + "83016000"
		}
		return p
	}
	many := "8501600302" + "990400" + strings.Repeat("83016000", 1024)
	for _, c := range []struct {
		name, hex string
		want      error
	}{
		{"nothing", "", ErrEncoding},
		{"no array", "a0", ErrEncoding},
		{"six fields", "86" + salt + "f640f6f6a0", ErrEncoding},
		{"truncated", body("a0", "850160"), ErrEncoding},
		{"trailing", body("a0", textPart) + "00", ErrEncoding},
		{"indefinite array", "9f" + salt + "f640f6f6a0" + textPart + "ff", ErrEncoding},
		{"indefinite text", body("a0", "8501"+"7f60ff"+"0160"+"4178"), ErrEncoding},
		{"long number", body("a0", "851801"+"600160"+"4178"), ErrEncoding},
		{"long length", body("a0", "850160"+"01"+"7800"+"4178"), ErrEncoding},
		{"long array", "9807" + salt + "f640f6f6a0" + textPart, ErrEncoding},
		{"short salt", "8741" + "07" + "f640f6f6a0" + textPart, ErrMalformed},
		{"salt an array", "8790" + strings.Repeat("07", 16) + "f640f6f6a0" + textPart, ErrMalformed},
		{"salt text", "8770" + strings.Repeat("07", 16) + "f640f6f6a0" + textPart, ErrMalformed},
		{"undefined for null", "87" + salt + "f740f6f6a0" + textPart, ErrMalformed},
		{"short reference", "87" + salt + "4101" + "40f6f6a0" + textPart, ErrMalformed},
		{"empty reference", "87" + salt + "40" + "40f6f6a0" + textPart, ErrMalformed},
		{"reference of an unknown kind", "87" + salt + strings.Replace(id, "582001", "582002", 1) + "40f6f6a0" + textPart, ErrBounds},
		{"reference of zeros", "87" + salt + "f640f6" + "5820" + strings.Repeat("00", 32) + "a0" + textPart, ErrBounds},
		{"topic too long", "87" + salt + "f6" + "591001" + strings.Repeat("00", 4097) + "f6f6a0" + textPart, ErrBounds},
		{"expiry of one field", "87" + salt + "f640" + "81f5" + "f6a0" + textPart, ErrMalformed},
		{"expiry with a number for a bool", "87" + salt + "f640" + "820000" + "f6a0" + textPart, ErrMalformed},
		{"expiry beyond 32 bits", "87" + salt + "f640" + "82f51b0000000100000000" + "f6a0" + textPart, ErrMalformed},
		{"extensions null", body("f6", textPart), ErrEncoding},
		{"sender a number", body("a10101", textPart), ErrMalformed},
		{"sender empty", body("a10160", textPart), ErrMalformed},
		{"keys out of order", body("a2056005"+"", textPart), ErrEncoding},
		{"keys length first", body("a2"+"6162"+"00"+"190100"+"00", textPart), ErrEncoding},
		{"key twice", body("a205600560", textPart), ErrEncoding},
		{"key of bytes", body("a1410060", textPart), ErrEncoding},
		{"key null", body("a1f660", textPart), ErrEncoding},
		{"key empty", body("a16060", textPart), ErrEncoding},
		{"key too long", body("a1790100"+strings.Repeat("61", 256)+"60", textPart), ErrEncoding},
		{"key beyond 2^53", body("a11b002000000000000060", textPart), ErrEncoding},
		{"key beyond -2^53", body("a13b001fffffffffffff60", textPart), ErrEncoding},
		{"inner key bool", body("a105a1f400", textPart), ErrEncoding},
		{"five levels", body("a10581818181"+"80", textPart), ErrEncoding},
		{"tag as fifth level", body("a105818181c100", textPart), ErrEncoding},
		{"NaN in full", body("a105fb7ff8000000000000", textPart), ErrEncoding},
		{"NaN with a payload", body("a105f97e01", textPart), ErrEncoding},
		{"float that fits 16 bits", body("a105fa3f800000", textPart), ErrEncoding},
		{"float that fits 16 bits, subnormal", body("a105fa33800000", textPart), ErrEncoding},
		{"float that fits 32 bits", body("a105fb40f86a0000000000", textPart), ErrEncoding},
		{"bignum that fits", body("a105c24101", textPart), ErrEncoding},
		{"bignum with zeros", body("a105c24a00010000000000000000", textPart), ErrEncoding},
		{"simple value in long form", body("a105f814", textPart), ErrEncoding},
		{"text not UTF-8", body("a0", "8501"+"61ff"+"0160"+"4178"), ErrEncoding},
		{"extension text not UTF-8", body("a10561ff", textPart), ErrEncoding},
		{"part no array", body("a0", "01"), ErrMalformed},
		{"part too short", body("a0", "820160"), ErrMalformed},
		{"unknown cardinality", body("a0", "83016004"), ErrMalformed},
		{"null part with more", body("a0", "8401600060"), ErrMalformed},
		{"disposition beyond 255", body("a0", "831901006000"), ErrMalformed},
		{"content text", body("a0", "8501600160"+"6178"), ErrMalformed},
		{"external too short", body("a0", "8e01600260600000004040400040"+"60"), ErrMalformed},
		{"multipart of one", body("a0", "8501600301"+"81"+"83016000"), ErrMalformed},
		{"unknown semantics", body("a0", "8501600303"+"82"+"83016000"+"83016000"), ErrBounds},
		{"five levels of parts", body("a0", nested(5)), ErrBounds},
		{"1025 parts", body("a0", many), ErrBounds},
		{"too large", body("a0", "8501600160"+"5a00100000"+strings.Repeat("00", 1<<20)), ErrBounds},
	} {
		data, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(c.name, err)
		}
		m, err := Unmarshal(data)
		if !errors.Is(err, c.want) || !errors.Is(err, ErrRefused) || m != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for name, ok := range map[string]string{
		"four levels": body("a0", nested(4)), "zero salt": "8750" + strings.Repeat("00", 16) + "f640f6f6a0" + textPart,
		"unknown disposition": body("a0", "8318c86000"), "unknown type and language": body("a0", "85016278780163612f624178"),
		"null part": body("a0", "83016000"),
	} {
		data, _ := hex.DecodeString(ok)
		if _, err := Unmarshal(data); err != nil {
			t.Errorf("%s must be tolerated: %v", name, err)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Message)
		want   error
	}{
		{"no salt", func(m *Message) { m.Salt = Salt{} }, ErrSalt},
		{"strange id", func(m *Message) { m.InReplyTo = MessageID{2} }, ErrBounds},
		{"topic", func(m *Message) { m.TopicID = make([]byte, MaxTopicID+1) }, ErrBounds},
		{"multipart of none", func(m *Message) { m.Body.Body = Multi{} }, ErrMalformed},
		{"semantics", func(m *Message) { m.Body.Body = Multi{Semantics: 3, Parts: make([]Part, 2)} }, ErrBounds},
		{"not UTF-8", func(m *Message) { m.Body.Language = "\xff" }, ErrEncoding},
		{"extension that is no CBOR", func(m *Message) { m.Unknown[0].Value = []byte{0x9f} }, ErrEncoding},
		{"extension with octets behind", func(m *Message) { m.Unknown[0].Value = []byte{0, 0} }, ErrEncoding},
		{"extension twice", func(m *Message) { m.Unknown[1].Key = m.Unknown[0].Key }, ErrMalformed},
		{"extension that has a field", func(m *Message) { m.Unknown[0].Key.Number = ExtensionSenderURI }, ErrMalformed},
		{"key too long", func(m *Message) { m.Unknown[0].Key.Text = strings.Repeat("x", 256) }, ErrEncoding},
		{"too large", func(m *Message) { m.Body.Body = Single{Content: make([]byte, MaxMessage)} }, ErrBounds},
	} {
		m := full()
		c.change(m)
		if _, err := Marshal(m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestVerify(t *testing.T) {
	alice, _ := uri.ParseUser("mimi://example.com/u/alice")
	bob, _ := uri.ParseUser("mimi://example.com/u/bob")
	room, _ := uri.ParseRoom("mimi://example.com/r/a")
	other, _ := uri.ParseRoom("mimi://example.com/r/b")
	m := &Message{Salt: Salt{1}, SenderURI: "MIMI://example.com/u/%61lice", RoomURI: room.String(), Body: TextPart("x")}
	data, err := Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	id, err := Verify(m, data, alice, room)
	if want, _ := ComputeID(m.SenderURI, m.RoomURI, data); err != nil || id != want || id[0] != 1 {
		t.Errorf("%v, %v", id, err)
	}
	if _, err := Verify(m, data, bob, room); !errors.Is(err, ErrSender) || !errors.Is(err, ErrRefused) {
		t.Errorf("wrong sender: %v", err)
	}
	if _, err := Verify(m, data, alice, other); !errors.Is(err, ErrSender) {
		t.Errorf("wrong room: %v", err)
	}
	m.SenderURI, m.RoomURI = "", ""
	if data, err = Marshal(m); err != nil {
		t.Fatal(err)
	}
	id, err = Verify(m, data, alice, room)
	if want, _ := ComputeID(alice.String(), room.String(), data); err != nil || id != want {
		t.Errorf("without extensions: %v, %v", id, err)
	}
	if _, err := ComputeID(strings.Repeat("x", 1<<16), "", data); !errors.Is(err, ErrBounds) {
		t.Errorf("long URI: %v", err)
	}
	if _, err := ComputeID("", "", data[:17]); !errors.Is(err, ErrMalformed) {
		t.Errorf("short message: %v", err)
	}
}

func TestCheckTimes(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	year := 365 * 24 * time.Hour
	for _, c := range []struct {
		name              string
		expires           *Expiry
		accepted, created time.Time
		ok                bool
	}{
		{"now", nil, now, now, true},
		{"clock a little ahead", nil, now.Add(MaxSkew), time.Time{}, true},
		{"clock far ahead", nil, now.Add(MaxSkew + 1), time.Time{}, false},
		{"late", nil, now.Add(-year), time.Time{}, true},
		{"before the room", nil, now.Add(-time.Hour), now, false},
		{"relative", ExpiresAfter(year), now, time.Time{}, true},
		{"relative, too long", &Expiry{Relative: true, Seconds: uint32(year/time.Second) + 1}, now, time.Time{}, false},
		{"absolute", ExpiresAt(now.Add(year)), now, time.Time{}, true},
		{"absolute, too late", ExpiresAt(now.Add(year + time.Second)), now, time.Time{}, false},
		{"absolute, long past", ExpiresAt(now.Add(-year - time.Second)), now, time.Time{}, false},
		{"absolute, past", ExpiresAt(now.Add(-time.Hour)), now, time.Time{}, true},
		{"absolute, at the end of 32 bits", &Expiry{Seconds: 1<<32 - 1}, now, time.Time{}, false},
	} {
		err := (&Message{Expires: c.expires}).CheckTimes(c.accepted, c.created, now)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrTimes) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for name := range official {
		if data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "mimi-content", name+".cbor")); err == nil {
			f.Add(data)
		}
	}
	whole, err := Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Unmarshal(data)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("an error that is no refusal: %v", err)
			}
			return
		}
		if m.Salt == (Salt{}) {
			return
		}
		again, err := Marshal(m)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%v\n got %x\nwant %x", err, again, data)
		}
		m.Kinds()
		m.Reactions()
	})
}
