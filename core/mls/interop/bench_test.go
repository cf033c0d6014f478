package interop

import "testing"

// TestMeasure runs the measurement small, so that it stays true to the interface; make bench-mls runs it in earnest.
func TestMeasure(t *testing.T) {
	f, err := Measure(t.Context(), MLSGo{}, X25519AES128, 8, Extension{Type: applicationID, Data: make([]byte, 100)})
	if err != nil {
		t.Fatal(err)
	}
	if f.Members != 8 || f.CommitBytes == 0 || f.WelcomeBytes == 0 || f.Join == 0 || f.Send == 0 {
		t.Errorf("figures are missing: %+v", f)
	}
}
