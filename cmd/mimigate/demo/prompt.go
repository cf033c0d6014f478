package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mimigate/bridges"
)

const promptHelp = `
Your turn. You are Ann, in tea. What you type is said; a line from each network shows what its people see.
  /as NAME      be somebody else: ann, ben (tea), carla (cafe), dev (pub), or anybody new, who joins tea
  /reply TEXT   answer the last message      /react EMOJI  react to it
  /edit TEXT    correct your last message    /delete       delete it
  /rename NAME  change your name             /leave        leave the room
  /rooms        every room as it is now      /help, /quit
`

// Prompt lets a human act as the people of the demo, until the input ends.
func (d *Demo) Prompt(ctx context.Context, in io.Reader) error {
	fmt.Fprint(d.out, promptHelp)
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	for _, s := range d.services {
		watching.Go(func() { d.watch(ctx, s) })
	}
	defer watching.Wait()
	defer cancel()
	lines := make(chan string)
	go func() { // ends with the input, or with the process: a read of a terminal cannot be interrupted
		defer close(lines)
		for scan := bufio.NewScanner(in); scan.Scan(); {
			select {
			case lines <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for me := "ann"; ; {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				d.settle(ctx)
				return nil
			}
			if line == "/quit" {
				return nil
			}
			next, err := d.act(me, strings.TrimSpace(line))
			if err != nil {
				d.printf("  %v\n", err)
			}
			me = next
		}
	}
}

// settleTime is how long nothing may happen until everything is taken to be shown.
const settleTime = time.Second

// settle waits until nothing happens any more: input that comes from a file ends before its last words have crossed.
func (d *Demo) settle(ctx context.Context) {
	quiet := time.NewTimer(settleTime)
	defer quiet.Stop()
	for {
		select {
		case <-d.happened:
			quiet.Reset(settleTime)
		case <-quiet.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// watch prints what happens on a network.
func (d *Demo) watch(ctx context.Context, s *service) {
	for {
		ev, err := s.network.Next(ctx, s.shown)
		if err != nil {
			return
		}
		s.shown = ev.Seq
		select {
		case d.happened <- struct{}{}:
		default:
		}
		d.printf("  %-4s │ %s\n", s.name, s.network.Line(ev))
	}
}

func (d *Demo) printf(format string, args ...any) {
	d.printing.Lock()
	defer d.printing.Unlock()
	fmt.Fprintf(d.out, format, args...)
}

// act does what a line says, as one of the people, and returns who acts next.
func (d *Demo) act(me, line string) (string, error) {
	word, rest, _ := strings.Cut(line, " ")
	person, s := d.people[me], d.at[me]
	var err error
	switch word {
	case "":
	case "/as":
		return d.become(me, strings.TrimSpace(rest))
	case "/help":
		d.printf("%s", promptHelp)
	case "/rooms":
		for _, s := range d.services {
			d.printf("%s: %s", s.name, s.network.Transcript(s.room))
		}
	case "/leave":
		err = person.Leave()
	case "/rename":
		person.Rename(rest)
	case "/reply":
		_, err = person.Reply(s.last(""), rest)
	case "/react":
		_, err = person.React(s.last(""), rest)
	case "/edit":
		_, err = person.Edit(s.last(me), rest)
	case "/delete":
		_, err = person.Delete(s.last(me))
	default:
		if strings.HasPrefix(word, "/") {
			return me, fmt.Errorf("no command %s; /help shows them", word)
		}
		_, err = person.Say(line)
	}
	return me, err
}

// become lets the human be somebody else.
func (d *Demo) become(me, name string) (string, error) {
	key := strings.ToLower(name)
	if key == "" {
		return me, fmt.Errorf("you are %s; there are: %s", me, strings.Join(slices.Sorted(maps.Keys(d.people)), ", "))
	}
	if _, known := d.people[key]; !known {
		if err := d.join(d.services[0], name); err != nil {
			return me, err
		}
	}
	d.printf("  you are %s, in %s\n", key, d.at[key].name)
	return key, nil
}

// last returns the id of the last message in the room, of a user if one is given; empty: there is none.
func (s *service) last(user string) string {
	all := s.network.Messages(s.room)
	for _, m := range slices.Backward(all) {
		if !m.Deleted && (user == "" || m.User == user) {
			return m.ID
		}
	}
	return bridges.ChatMessage{}.ID
}
