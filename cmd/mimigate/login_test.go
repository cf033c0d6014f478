//go:build !nowhatsapp

package main

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rsc.io/qr"

	"mimigate/bridges/whatsapp"
	"mimigate/bridges/whatsapp/waserver"
	"mimigate/core/config"
	"mimigate/core/gateway"
)

// TestShowCode: what is drawn is the code, with its quiet zone.
func TestShowCode(t *testing.T) {
	const text = "https://wa.me/settings/linked_devices#2@abc,def=,ghi=,jkl=,1"
	var out bytes.Buffer
	if err := showCode(&out, text); err != nil {
		t.Fatal(err)
	}
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	for row, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		line = strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[40;97m"), "\x1b[0m")
		modules := []rune(line)
		if len(modules) != code.Size+2*quiet {
			t.Fatalf("line %d has %d modules", row, len(modules))
		}
		for i, r := range modules {
			x, y := i-quiet, 2*row-quiet
			top, bottom := r == '█' || r == '▀', r == '█' || r == '▄'
			if top == code.Black(x, y) || bottom == code.Black(x, y+1) {
				t.Fatalf("the modules at %d, %d are drawn as %q", x, y, r)
			}
		}
	}
}

// TestAccountLogin: the command links an account of the gateway that runs to a phone of a WhatsApp server on loopback, by the code that it
// shows; then the account is connected.
func TestAccountLogin(t *testing.T) {
	if testing.Short() {
		t.Skip("whatsmeow itself has data races")
	}
	server := waserver.Start(t)
	phone := server.Phone(t, "4915100000001", "Family")
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	text := "provider:\n  store: " + filepath.Join(dir, "store") + "\naccounts:\n  - id: family\n    network: whatsapp\n    mode: relay\n    accept_ban_risk: true\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &program{config: file, drivers: gateway.Drivers{"whatsapp": whatsapp.DriverIn(whatsapp.Lab{Transport: server.HTTPClient().Transport, Hasty: true})}}
	cfg, err := p.load()
	if err != nil {
		t.Fatal(err)
	}
	runGateway(t, p, cfg)

	var shown bytes.Buffer
	lines, write := pipe(&shown)
	l := login{in: bufio.NewReader(strings.NewReader("yes\n")), out: write, text: true}
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		done <- p.ask(ctx, func(ctx context.Context, client *gateway.Client) error { return l.run(ctx, client, "family", "qr") })
	}()
	for ended := false; !ended; {
		select {
		case code := <-lines:
			if strings.HasPrefix(code, "https://") {
				phone.Scan(t, code)
			}
		case err := <-done:
			if err != nil {
				t.Fatalf("%v; shown was\n%s", err, shown.String())
			}
			ended = true
		}
	}
	server.WaitOnline(t, phone.Number())
	if !strings.Contains(shown.String(), "banned") || !strings.Contains(shown.String(), "account family: connected") {
		t.Errorf("shown was\n%s", shown.String())
	}
	err = p.ask(ctx, func(ctx context.Context, client *gateway.Client) error {
		_, err := client.Login(ctx, "family", "logout", "")
		return err
	})
	if devices := server.Devices(phone.Number()); err != nil || len(devices) > 0 {
		t.Errorf("logout: %v, linked are %v", err, devices)
	}
}

// runGateway runs a gateway until the end of the test, and waits until it can be asked.
func runGateway(t *testing.T, p *program, cfg *config.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g, err := gateway.New(ctx, p.gateway(cfg, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		client, err := gateway.Dial(t.Context(), cfg.Provider.Files)
		if err == nil {
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// pipe returns the lines that are written, as they are written, and keeps them all.
func pipe(keep *bytes.Buffer) (<-chan string, *lineWriter) {
	w := &lineWriter{keep: keep, lines: make(chan string, 100)}
	return w.lines, w
}

type lineWriter struct {
	keep  *bytes.Buffer
	rest  string
	lines chan string
}

// Write implements io.Writer.
func (w *lineWriter) Write(b []byte) (int, error) {
	w.keep.Write(b)
	w.rest += string(b)
	for {
		line, rest, ok := strings.Cut(w.rest, "\n")
		if !ok {
			return len(b), nil
		}
		w.rest = rest
		w.lines <- strings.TrimPrefix(line, "Type yes to link the account: ")
	}
}
