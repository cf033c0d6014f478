package status

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// statusVector is status.cbor of draft-mahy-mimi-message-status-01.
const statusVector = "84" +
	"825820017ce54837404c3696e0c747b985cb172716d0ed0a3d249ca63ace7d82a096f402" +
	"825820015354973c2b65ca937bf1e035ae53a5ab80e947afa43d46920d4202e5cc0b2702" +
	"825820018d825adf9f6be00dcafc5704c4102f5022e74219d0b603e4ba7622654042af00" +
	"82582001e59db8173939facc2c8a4a0f0ae8d0c7a11a81239626630c9464a8d6717a0303"

func TestReports(t *testing.T) {
	data, _ := hex.DecodeString(statusVector)
	report, err := Unmarshal(data)
	if err != nil || len(report) != 4 || len(data) != 145 {
		t.Fatalf("%v, %v", report, err)
	}
	for i, want := range []struct {
		id     string
		status Status
	}{{"017ce548", Read}, {"01535497", Read}, {"018d825a", Unread}, {"01e59db8", Expired}} {
		if report[i].ID.String()[:8] != want.id || report[i].Status != want.status {
			t.Errorf("%d: %v", i, report[i])
		}
	}
	if again, err := Marshal(report); err != nil || !bytes.Equal(again, data) {
		t.Errorf("re-encoded: %x, %v", again, err)
	}
	if none, err := Marshal(nil); err != nil || hex.EncodeToString(none) != "80" {
		t.Errorf("empty report: %x, %v", none, err)
	} else if got, err := Unmarshal(none); err != nil || len(got) != 0 {
		t.Errorf("empty report: %v, %v", got, err)
	}
	entry := "825820" + "01" + strings.Repeat("00", 31)
	for name, bad := range map[string]string{
		"nothing": "", "null": "f6", "no array": "00", "short id": "8182" + "4101" + "00", "null id": "8182f600", "unknown hash": "81" + strings.Replace(entry, "582001", "582003", 1) + "00",
		"status beyond 255": "81" + entry + "190100", "text status": "81" + entry + "60", "indefinite": "9f" + entry + "00ff",
		"three fields": "8183" + entry[2:] + "0000", "trailing": "8000",
	} {
		data, _ := hex.DecodeString(bad)
		if got, err := Unmarshal(data); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := Marshal([]Report{{}}); !errors.Is(err, ErrSyntax) {
		t.Errorf("no id: %v", err)
	}
	if _, err := Marshal(make([]Report, MaxReports+1)); !errors.Is(err, ErrSyntax) {
		t.Errorf("too many: %v", err)
	}
}

func TestAdvance(t *testing.T) {
	for _, c := range []struct{ from, report, want Status }{
		{Unread, Delivered, Delivered}, {Delivered, Read, Read}, {Read, Delivered, Read},
		{Read, Deleted, Deleted}, {Deleted, Delivered, Deleted}, {Unread, Failed, Failed},
		{Failed, Delivered, Delivered}, {Delivered, Failed, Delivered}, {Delivered, 77, Delivered},
		{Read, Unread, Read}, {Unread, Expired, Expired},
	} {
		if got := c.from.Advance(c.report); got != c.want {
			t.Errorf("%d then %d: %d, want %d", c.from, c.report, got, c.want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	data, _ := hex.DecodeString(statusVector)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := Unmarshal(data)
		if err != nil {
			return
		}
		if again, err := Marshal(report); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%v\n got %x\nwant %x", err, again, data)
		}
	})
}
