package adaptertest

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

func textFromPeople(s *stage) {
	x := s.begin()
	ann, ben := s.human("Ann"), s.human("Ben")
	ann.say("Lunch?")
	first := x.hears("Ann's text", text("Lunch?"))
	ben.say("At noon.")
	second := x.hears("Ben's text", text("At noon."))
	ann.say("Lunch it is.")
	third := x.hears("Ann's second text", text("Lunch it is."))

	if first.Sender.Name != "Ann" || second.Sender.Name != "Ben" {
		s.Errorf("senders are called %q and %q", first.Sender.Name, second.Sender.Name)
	}
	if !samePerson(first.Sender, third.Sender) || samePerson(first.Sender, second.Sender) {
		s.Errorf("ids of Ann, Ben, Ann: %q, %q, %q", first.Sender.IDs, second.Sender.IDs, third.Sender.IDs)
	}
	for _, ev := range []adapter.Event{first, second, third} {
		if ev.Own || !ev.Marker.IsZero() || ev.History || !ev.Sender.User.IsZero() {
			s.Errorf("a person's message is taken for ours, or for history: %+v", ev)
		}
		if age := time.Since(ev.Time).Abs(); !ev.Time.IsZero() && age > 24*time.Hour {
			s.Errorf("time is %v off", age)
		}
	}
	if first.ID == third.ID {
		s.Errorf("two messages of one id %q", first.ID)
	}
}

func textToPeople(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	sent := x.deliver(x.say(alice, "Good morning from elsewhere"))
	if len(sent.Parts) != 1 || sent.Parts[0].Part != 0 || sent.Parts[0].Piece != 0 {
		s.Errorf("one short text, but Sent is %+v", sent.Parts)
	}
	ann.once(x, "Alice's text", x.says(alice, "Good morning from elsewhere"))
}

func ownNames(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	if line := x.Limits(x.conv).Authors == content.Line; line == s.has(OwnNames) {
		s.Fatalf("Limits.Authors is %v, but the network's test lacks own names: %v", x.Limits(x.conv).Authors, !s.has(OwnNames))
	}
	x.deliver(x.say(alice, "I am here"))
	x.deliver(x.say(bob, "So am I"))
	first := ann.sees("Alice", x.says(alice, "I am here"))
	second := ann.sees("Bob", x.says(bob, "So am I"))
	if native := x.Limits(x.conv).Authors == content.Native; native && first.Sender == second.Sender {
		s.Errorf("Alice and Bob are both %q", first.Sender)
	}
}

// namesakes: somebody here is called like one of our people, and neither is taken for the other (peers.md §2, 26).
func namesakes(s *stage) {
	x := s.begin()
	ann, double := s.human("Ann"), s.human(alice.Name)
	x.deliver(x.say(alice, "I am Alice"))
	ours := ann.sees("our Alice", func(m Seen) bool { return strings.Contains(m.Text, "I am Alice") })
	double.say("Me too")
	ev := x.hears("the namesake", text("Me too"))
	if ev.Own || !ev.Sender.User.IsZero() {
		s.Errorf("the namesake is taken for one of ours: %+v", ev)
	}
	if theirs := ann.sees("the namesake", func(m Seen) bool { return m.Text == "Me too" }); theirs.Sender == ours.Sender {
		s.Errorf("both are %q", ours.Sender)
	}
}

func gatewaySpeaks(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	out := x.say(adapter.Author{}, "This room is open to mimi://elsewhere.example.")
	out.Marker.Origin, out.ID = content.MessageID{}, content.MessageID{}
	x.deliver(out)
	ann.once(x, "the gateway's own words", x.says(adapter.Author{}, "This room is open to mimi://elsewhere.example."))
}

func order(s *stage) {
	const n = 15
	x := s.begin()
	ann, ben := s.human("Ann"), s.human("Ben")
	var in, out []string
	for i := range n {
		in = append(in, fmt.Sprintf("in %d.", i))
		[]*actor{ann, ben}[i%2].say(in[i])
		out = append(out, fmt.Sprintf("out %d.", i))
		x.deliver(x.say([]adapter.Author{alice, bob}[i/2%2], out[i]))
	}
	x.hears("the last of people", text(in[n-1]))
	ann.sees("the last of ours", func(m Seen) bool { return strings.HasSuffix(m.Text, out[n-1]) })

	var got []string
	for _, ev := range x.heard(func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && !ev.Own && m.Replaces == ""
	}) {
		if t := textOf(ev.Body.(adapter.Message).Content.Body); strings.HasPrefix(t, "in ") {
			got = append(got, t)
		}
	}
	if !slices.Equal(got, in) {
		s.Errorf("people said %q, reported was %q", in, got)
	}
	v, err := ann.view()
	if err != nil {
		s.Fatal(err)
	}
	got = nil
	for _, m := range v.Messages {
		if i := strings.LastIndex(m.Text, "out "); i >= 0 {
			got = append(got, m.Text[i:])
		}
	}
	if !slices.Equal(got, out) {
		s.Errorf("we sent %q, Ann sees %q", out, got)
	}
}

// oddTexts are what messengers have been broken by.
var oddTexts = map[string]string{
	"right to left":  "שלום עולם 123 مرحبا",
	"bidi override":  "a\u202ecba\u202c\u2067x\u2069",
	"joined emoji":   "👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇦🇹",
	"combining":      "Z\u0351\u036b\u0343a\u0334\u0321l\u0322go e\u0301 \u00e9",
	"four octets":    "𝕳𝖊𝖑𝖑𝖔 𒀀 𠮷",
	"controls":       "a\x00b\x07c\x1b[31md\x7fe\u0085f",
	"noncharacters":  "a\uFFFEb\uFFFFc\uFDD0d",
	"markup":         "<b>&amp;</b> ]]> &#0; <!-- x",
	"lone surrogate": "a\xed\xa0\x80b",
	"line ends":      "one\r\ntwo\nthree\u2028four",
}

func unicodeFromPeople(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	for _, what := range slices.Sorted(maps.Keys(oddTexts)) {
		odd := oddTexts[what]
		_, err := ann.try(Act{Do: Say, Text: what + ": " + odd})
		if errors.Is(err, ErrCannot) {
			s.Logf("%s: not tried: %v", what, err)
			continue
		}
		if err != nil {
			s.Fatalf("%s: %v", what, err)
		}
		x.hears(what, text(what+": "+odd))
	}
	x.barrier(ann)
}

func unicodeToPeople(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	for _, what := range slices.Sorted(maps.Keys(oddTexts)) {
		odd := oddTexts[what]
		if utf8.ValidString(odd) { // content is UTF-8 always
			x.deliver(x.say(alice, what+": "+odd))
			ann.sees(what, x.says(alice, what+": "+odd))
		}
	}
	odd := author("odd", "O'\"<d>\x00 \u202e👩‍🚀\u202c &amp; "+strings.Repeat("n", 300))
	x.deliver(x.say(odd, "my name is odd"))
	ann.once(x, "text of an odd name", func(m Seen) bool { return strings.HasSuffix(m.Text, "my name is odd") })
}

var word = regexp.MustCompile(`w\d{7}`)

// words is a text of about n octets, each word of it different.
func words(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "w%07d ", i)
	}
	return strings.TrimSpace(b.String())
}

func hugeFromPeople(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	want := words(s.net.hugeBytes())
	ann.say(want)
	x.hears("the huge text", text(want))
}

func hugeToPeople(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	want := words(s.net.hugeBytes())
	sent := x.deliver(x.say(alice, want))
	last := word.FindAllString(want, -1)
	ann.sees("the end of the huge text", func(m Seen) bool { return strings.Contains(m.Text, last[len(last)-1]) })
	v, err := ann.view()
	if err != nil {
		s.Fatal(err)
	}
	var got []string
	pieces := 0
	for _, m := range v.Messages {
		found := word.FindAllString(m.Text, -1)
		got = append(got, found...)
		if len(found) > 0 {
			pieces++
		}
		if most := x.Limits(x.conv).TextBytes; most > 0 && len(m.Text) > most+200 {
			s.Errorf("a text of %d octets, Limits say %d", len(m.Text), most)
		}
	}
	if !slices.Equal(got, last) {
		s.Errorf("%d words sent, %d seen, or not in order", len(last), len(got))
	}
	if pieces != len(sent.Parts) {
		s.Errorf("%d native events, Sent has %d parts", pieces, len(sent.Parts))
	}
}

var partTexts = []string{"part the first", "part the second", "part the third"}

func (x *session) threeParts() adapter.Outbound {
	var parts []content.Part
	for _, t := range partTexts {
		parts = append(parts, content.TextPart(t))
	}
	return x.outbound(alice, content.Of(content.Album(parts...)))
}

func severalParts(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	out := x.threeParts()
	sent := x.deliver(out)
	shown := func(t string) func(Seen) bool {
		return func(m Seen) bool { return !m.Deleted && strings.Contains(m.Text, t) }
	}
	for _, t := range partTexts {
		ann.once(x, t, shown(t))
	}
	if !slices.IsSortedFunc(sent.Parts, func(a, b adapter.NativePart) int { return a.Part - b.Part }) {
		s.Errorf("parts not in order: %+v", sent.Parts)
	}
	if !s.has(DeleteOut) {
		return
	}
	del := x.outbound(alice, content.Delete(out.ID))
	del.Replaces = ours(out, sent)
	x.deliver(del)
	for _, t := range partTexts {
		ann.gone(t, shown(t))
	}
}

// partsDone: the first part arrived in an earlier attempt, and only the others are sent.
func partsDone(s *stage) {
	x := s.begin()
	ann := s.human("Ann")
	out := x.threeParts()
	sent := x.deliver(out)
	if len(sent.Parts) < 2 {
		s.Skipf("several texts are one native event here")
	}
	ann.sees(partTexts[2], func(m Seen) bool { return strings.Contains(m.Text, partTexts[2]) })
	again := x.threeParts()
	again.Attempt = 2
	again.Done = sent.Parts[:1]
	more := x.deliver(again)
	if len(more.Parts) != len(sent.Parts) || more.Parts[0] != sent.Parts[0] {
		s.Errorf("Done was %+v, Sent is %+v", again.Done, more.Parts)
	}
	ann.after(x)
	for i, want := range []int{1, 2, 2} {
		if n := ann.count(func(m Seen) bool { return strings.Contains(m.Text, partTexts[i]) }); n != want {
			s.Errorf("%s: shown %d times, want %d", partTexts[i], n, want)
		}
	}
}

// gone waits until the person's client shows nothing any more that ok accepts.
func (a *actor) gone(what string, ok func(Seen) bool) {
	a.s.Helper()
	WaitFor(a.s.T, a.s.net.patience(), what+" is gone", func() error {
		v, err := a.view()
		if err == nil && slices.ContainsFunc(v.Messages, ok) {
			err = fmt.Errorf("shown are %s", brief(v.Messages))
		}
		return err
	})
}

func samePerson(a, b adapter.Person) bool {
	return slices.ContainsFunc(a.IDs, func(id adapter.PersonID) bool { return slices.Contains(b.IDs, id) })
}
