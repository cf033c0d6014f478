// Package demo lets two gateways meet in one process, with three networks in memory.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mimigate/bridges"
	"mimigate/core/config"
	"mimigate/core/gateway"
)

// demoConfig are the configurations of the two providers, as they would stand in files.
var demoConfig = map[string]string{
	"north": `
provider: {domain: north.example, store: north, listen: "LISTEN"}
federation: {url: "https://LISTEN"}
policies: [{id: default, joins: show}] # who is elsewhere is shown
accounts:
  - {id: tea, network: tea}
  - {id: cafe, network: cafe}
rooms:
  - id: lunch
    name: Lunch
    bind: [tea/kitchen, cafe/terrace]
    invite: ["mimi://south.example/u/gateway"]
people: # their addresses are readable: mimi://north.example/u/ann
  - {handle: ann, is: ["tea:ann"]}
  - {handle: ben, is: ["tea:ben"]}
  - {handle: carla, is: ["cafe:carla"]}
`,
	"south": `
provider: {domain: south.example, store: south, listen: "LISTEN"}
federation: {url: "https://LISTEN"}
policies: [{id: default, joins: show}]
accounts:
  - {id: pub, network: pub}
people:
  - {handle: dev, is: ["pub:dev"]}
`,
}

const (
	demoRoom = "mimi://north.example/r/lunch"
	// demoPatience is how long the demo waits for what takes some hundredths of a second.
	demoPatience = 30 * time.Second
)

// service is one chat network of the demo, with its one room.
type service struct {
	name, room, title, provider string
	network                     *bridges.Chat
	shown                       int // events that were printed
}

// Demo is two gateways and three networks.
type Demo struct {
	out      io.Writer
	dir      string
	services []*service
	people   map[string]*bridges.ChatClient
	at       map[string]*service // where each of the people is
	stop     context.CancelFunc
	running  sync.WaitGroup
	ended    chan error // of each gateway
	gateways map[string]*gateway.Gateway
	printing sync.Mutex
	happened chan struct{} // holds one: something was shown since it was last looked at
}

// New starts it; what the people see is written to out.
func New(ctx context.Context, out io.Writer, log *slog.Logger) (_ *Demo, err error) {
	d := &Demo{out: out, people: map[string]*bridges.ChatClient{}, at: map[string]*service{}, gateways: map[string]*gateway.Gateway{},
		ended: make(chan error, len(demoConfig)), stop: func() {}, happened: make(chan struct{}, 1)}
	if d.dir, err = os.MkdirTemp("", "mimigate-demo-"); err != nil {
		return nil, err
	}
	drivers := gateway.Drivers{}
	for _, s := range []service{
		{name: "tea", room: "kitchen", title: "Kitchen", provider: "north.example"},
		{name: "cafe", room: "terrace", title: "Terrace", provider: "north.example"},
		{name: "pub", room: "snug", title: "Snug", provider: "south.example"},
	} {
		s.network, drivers[s.name] = bridges.Loopback()
		s.network.Create(s.room, s.title)
		d.services = append(d.services, &s)
	}
	for i, name := range []string{"Ann", "Carla", "Dev"} {
		if err := d.join(d.services[i], name); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if err := d.join(d.services[0], "Ben"); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.start(ctx, drivers, log); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Demo) join(s *service, name string) (err error) {
	key := strings.ToLower(name)
	d.at[key] = s
	d.people[key], err = s.network.Join(s.room, key, name)
	return err
}

// start starts the gateways, and binds the chat of the second to the room of the first.
func (d *Demo) start(ctx context.Context, drivers gateway.Drivers, log *slog.Logger) error {
	for name, text := range demoConfig {
		file := filepath.Join(d.dir, name+".yaml")
		listen, err := FreeAddress()
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "LISTEN", listen)), 0o600); err != nil {
			return err
		}
		cfg, err := config.Load(config.Options{Path: file, Drivers: drivers, Suites: gateway.Suites()})
		if err != nil {
			return err
		}
		if d.gateways[name], err = gateway.New(ctx, gateway.Options{Config: cfg, Drivers: drivers, Log: log.With("provider", name)}); err != nil {
			return err
		}
	}
	if err := d.introduce(ctx); err != nil {
		return err
	}
	ctx, d.stop = context.WithCancel(ctx)
	for _, g := range d.gateways {
		d.running.Go(func() { d.ended <- g.Run(ctx) })
	}
	return d.gateways["south"].Bind(ctx, demoRoom, "pub/snug", config.Both)
}

// introduce makes the gateways each other's peers, as their administrators would with "mimigate peer".
func (d *Demo) introduce(ctx context.Context) error {
	for name, g := range d.gateways {
		i, err := g.Invitation()
		if err != nil {
			return err
		}
		for other, h := range d.gateways {
			if other == name {
				continue
			}
			if _, err := h.AcceptPeer(ctx, i.Text, config.May{Invite: "allow", Search: "deny"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// FreeAddress returns an address of loopback where nobody listens.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Close ends the gateways and forgets everything.
func (d *Demo) Close() error {
	d.stop()
	d.running.Wait()
	close(d.ended)
	errs := []error{os.RemoveAll(d.dir)}
	for err := range d.ended {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Conversation lets the people talk, and shows each step on every network.
func (d *Demo) Conversation(ctx context.Context) error {
	fmt.Fprint(d.out, "Two MIMI providers in this process, and three chat networks that know nothing of each other:\n\n")
	for _, s := range d.services {
		fmt.Fprintf(d.out, "  %-4s  room %-8s %-12s bridged by %s\n", s.name, s.room, s.names(), s.provider)
	}
	fmt.Fprintf(d.out, "\nNow their rooms are bound to one MIMI room, %s. Its messages are encrypted with MLS;\nnorth.example is its hub. Each provider calls the people of the other by their addresses, such as mimi://north.example/u/ann.\n\n", demoRoom)
	for _, s := range d.services {
		if err := d.wait(ctx, s, "everybody to appear", func() bool { return len(s.network.Members(s.room)) >= 4+1 }); err != nil {
			return err
		}
		fmt.Fprintf(d.out, "  %-4s  %s\n", s.name, s.names())
		s.skip()
	}
	ann, carla, dev, ben := d.people["ann"], d.people["carla"], d.people["dev"], d.people["ben"]
	const offer, soup, late = "Lunch at noon?", "I bring soup.", "Lunch at one?"
	for _, step := range []struct {
		title string
		do    func() (string, error)
		seen  func(*service) bool
	}{
		{"Ann writes in tea.", func() (string, error) { return ann.Say(offer) }, has(offer)},
		{"Carla answers her in cafe.", func() (string, error) { return carla.Reply(d.find("cafe", offer), soup) },
			func(s *service) bool { m := s.message(soup); return m.To != "" && m.To == s.message(offer).ID }},
		{"Dev, at the other provider, reacts.", func() (string, error) { return dev.React(d.find("pub", offer), "👍") },
			func(s *service) bool { return len(s.message(offer).Reactions) == 1 }},
		{"Ann corrects herself.", func() (string, error) { return ann.Edit(d.find("tea", offer), late) },
			func(s *service) bool { return s.message(late).Edited }},
		{"Ben writes something in the wrong room …", func() (string, error) { return ben.Say("Buy milk") }, has("Buy milk")},
		{"… and deletes it.", func() (string, error) { return ben.Delete(d.find("tea", "Buy milk")) },
			func(s *service) bool { return s.message("Buy milk").ID == "" }},
	} {
		if _, err := step.do(); err != nil {
			return fmt.Errorf("%s %w", step.title, err)
		}
		fmt.Fprintf(d.out, "\n%s\n", step.title)
		for _, s := range d.services {
			if err := d.wait(ctx, s, step.title, func() bool { return step.seen(s) }); err != nil {
				return err
			}
			s.print(d.out)
		}
	}
	return d.sum(ctx)
}

// sum tells what the room is.
func (d *Demo) sum(ctx context.Context) error {
	status, err := d.gateways["north"].Status(ctx)
	if err != nil {
		return err
	}
	for _, r := range status.Rooms {
		if r.Room == demoRoom {
			fmt.Fprintf(d.out, "\nThe room has %d participants, each with a leaf of their own in its MLS group: four people, two gateways.\n", r.Participants)
		}
	}
	return nil
}

// wait waits until something is to be seen on a network.
func (d *Demo) wait(ctx context.Context, s *service, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	if err := s.network.Wait(ctx, done); err != nil {
		return fmt.Errorf("%s: waiting for %q: %w\n%s", s.name, what, err, s.network.Transcript(s.room))
	}
	return nil
}

// find returns a message's id on a network.
func (d *Demo) find(where, text string) string {
	i := slices.IndexFunc(d.services, func(s *service) bool { return s.name == where })
	return d.services[i].message(text).ID
}

func has(text string) func(*service) bool {
	return func(s *service) bool { return s.message(text).ID != "" }
}

// message returns the message with a text that is not deleted, or none.
func (s *service) message(text string) bridges.ChatMessage {
	for _, m := range s.network.Messages(s.room) {
		if m.Text == text && !m.Deleted {
			return m
		}
	}
	return bridges.ChatMessage{}
}

// names are those of the people in the room, sorted; the accounts of gateways are none.
func (s *service) names() string {
	var list []string
	for _, m := range s.network.Members(s.room) {
		if m.User != "gateway" {
			list = append(list, m.Name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// next returns the next event that is there already, and was not printed.
func (s *service) next() (bridges.ChatEvent, bool) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	ev, err := s.network.Next(now, s.shown)
	if err != nil {
		return ev, false
	}
	s.shown = ev.Seq
	return ev, true
}

func (s *service) skip() {
	for ok := true; ok; {
		_, ok = s.next()
	}
}

func (s *service) print(out io.Writer) {
	for ev, ok := s.next(); ok; ev, ok = s.next() {
		fmt.Fprintf(out, "  %-4s │ %s\n", s.name, s.network.Line(ev))
	}
}
