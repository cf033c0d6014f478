package made

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"mimigate/core/config"
	"mimigate/core/uri"
)

// exported is a room as it stands in a configuration file.
type exported struct {
	ID     string            `yaml:"id"`
	Name   string            `yaml:"name,omitempty"`
	Policy string            `yaml:"policy,omitempty"`
	Bind   []exportedBinding `yaml:"bind,omitempty"`
}

type exportedBinding struct {
	Chat      string `yaml:"chat"`
	Direction string `yaml:"direction"`
}

// Export returns what was made by command, as lines for the configuration file: rooms, and bindings of rooms. What a file cannot say is
// there as a comment.
func (r *Rooms) Export(ctx context.Context) (string, error) {
	routed, err := r.options.Router.Status(ctx)
	if err != nil {
		return "", err
	}
	all, err := r.list(ctx)
	if err != nil {
		return "", err
	}
	var rooms []exported
	var comments []string
	bound := map[uri.Room][]exportedBinding{}
	for _, b := range routed.Bindings {
		if b.Managed == "" {
			bound[b.Room] = append(bound[b.Room], exportedBinding{config.Chat{Account: b.Account, ID: b.Name}.String(), b.Direction.String()})
		}
	}
	for _, m := range all {
		if _, ok := r.managed(m.Room); ok {
			continue
		}
		name, _, err := r.options.Members.Description(ctx, m.Room)
		if err != nil {
			return "", err
		}
		rooms = append(rooms, exported{r.roomID(m.Room), name, m.Policy, bound[m.Room]})
		delete(bound, m.Room)
	}
	for _, room := range sortedRooms(bound) {
		rooms, comments = r.exportBound(ctx, room, bound[room], rooms, comments)
	}
	return exportText(rooms, comments)
}

// exportBound adds what is bound by command to a room that was not made by command.
func (r *Rooms) exportBound(ctx context.Context, room uri.Room, bind []exportedBinding, rooms []exported, comments []string) ([]exported, []string) {
	where := ""
	switch c, ok := r.managed(room); {
	case ok:
		where = fmt.Sprintf("add to the room %s, at %s", c.ID, c.At)
	case room.Provider() == r.options.Provider: // made for a chat that was bound to none
		name, _, err := r.options.Members.Description(ctx, room)
		if err != nil {
			name = ""
		}
		return append(rooms, exported{r.roomID(room), name, config.DefaultPolicy, bind}), comments
	default:
		where = fmt.Sprintf("%s is a room of another provider, which this file cannot name", room)
	}
	for _, b := range bind {
		comments = append(comments, fmt.Sprintf("# {chat: %q, direction: %s}: %s", b.Chat, b.Direction, where))
	}
	return rooms, comments
}

// roomID is the id by which configuration names a room of ours.
func (r *Rooms) roomID(room uri.Room) string {
	return strings.TrimPrefix(room.String(), r.options.Provider.String()+"/r/")
}

func sortedRooms(bound map[uri.Room][]exportedBinding) []uri.Room {
	var list []uri.Room
	for room := range bound {
		list = append(list, room)
	}
	slices.SortFunc(list, func(a, b uri.Room) int { return strings.Compare(a.String(), b.String()) })
	return list
}

func exportText(rooms []exported, comments []string) (string, error) {
	var out bytes.Buffer
	if len(rooms) == 0 && len(comments) == 0 {
		return "# Nothing was made by command.\n", nil
	}
	if len(rooms) > 0 {
		enc := yaml.NewEncoder(&out)
		enc.SetIndent(2)
		if err := enc.Encode(map[string]any{"rooms": rooms}); err != nil {
			return "", fmt.Errorf("export: %w", err)
		}
	}
	for _, c := range comments {
		fmt.Fprintln(&out, c)
	}
	return out.String(), nil
}
