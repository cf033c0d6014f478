package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"mimigate/core/hub"
	"mimigate/core/uri"
)

// PutHubPlace implements hub.Places.
func (s *Store) PutHubPlace(ctx context.Context, room uri.Room, p hub.Place, at time.Time) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `INSERT INTO hub_place (room, parent, membership) VALUES ($1, $2, $3)
			ON CONFLICT (room) DO UPDATE SET parent = excluded.parent, membership = excluded.membership`,
			room.String(), p.Parent, p.Membership); err != nil {
			return err
		}
		if _, err := s.exec(ctx, `DELETE FROM hub_asset_host WHERE room = $1`, room.String()); err != nil {
			return err
		}
		for _, host := range p.Hosts {
			if _, err := s.exec(ctx, `INSERT INTO hub_asset_host (room, host) VALUES ($1, $2)`, room.String(), host); err != nil {
				return err
			}
		}
		return s.putLinks(ctx, room, p.Links, at)
	})
}

// putLinks replaces a room's join links; those that stay keep their age.
func (s *Store) putLinks(ctx context.Context, room uri.Room, links []string, at time.Time) error {
	var old []string
	err := s.query(ctx, func(scan func(...any) error) error {
		var link string
		err := scan(&link)
		old = append(old, link)
		return err
	}, `SELECT link FROM hub_link WHERE room = $1`, room.String())
	if err != nil {
		return err
	}
	for _, link := range old {
		if slices.Contains(links, link) {
			continue
		}
		for _, query := range []string{`DELETE FROM hub_guest WHERE room = $1 AND link = $2`, `DELETE FROM hub_link WHERE room = $1 AND link = $2`} {
			if _, err := s.exec(ctx, query, room.String(), link); err != nil {
				return err
			}
		}
	}
	for _, link := range links {
		if _, err := s.exec(ctx, `INSERT INTO hub_link (room, link, made, guest) VALUES ($1, $2, $3, '') ON CONFLICT (room, link) DO NOTHING`,
			room.String(), link, at.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// HubLink implements hub.Links.
func (s *Store) HubLink(ctx context.Context, room uri.Room, link string) (l hub.Link, ok bool, err error) {
	var made int64
	ok, err = s.get(ctx, []any{&made, &l.Guest}, `SELECT made, guest FROM hub_link WHERE room = $1 AND link = $2`, room.String(), link)
	l.Made = time.UnixMilli(made)
	return l, ok, err
}

// UseHubLink implements hub.Links.
func (s *Store) UseHubLink(ctx context.Context, room uri.Room, link string, by uri.User) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `UPDATE hub_link SET guest = $3 WHERE room = $1 AND link = $2`, room.String(), link, by.String()); err != nil {
			return err
		}
		_, err := s.exec(ctx, `DELETE FROM hub_guest WHERE room = $1 AND address = $2`, room.String(), by.String())
		return err
	})
}

// PutHubGuest implements hub.Links.
func (s *Store) PutHubGuest(ctx context.Context, room uri.Room, user uri.User, link string) error {
	_, err := s.exec(ctx, `INSERT INTO hub_guest (room, address, link) VALUES ($1, $2, $3)
		ON CONFLICT (room, address) DO UPDATE SET link = excluded.link`, room.String(), user.String(), link)
	return err
}

// HubGuest implements hub.Links.
func (s *Store) HubGuest(ctx context.Context, room uri.Room, user uri.User) (link string, err error) {
	_, err = s.get(ctx, []any{&link}, `SELECT link FROM hub_guest WHERE room = $1 AND address = $2`, room.String(), user.String())
	return link, err
}

// HubChildren implements hub.Places.
func (s *Store) HubChildren(ctx context.Context, parent uri.Room) ([]uri.Room, error) {
	return s.roomsOf(ctx, `SELECT room FROM hub_place WHERE parent = $1 ORDER BY room`, parent.String())
}

// HubRoomsOf implements hub.Places.
func (s *Store) HubRoomsOf(ctx context.Context, membership []byte) ([]uri.Room, error) {
	return s.roomsOf(ctx, `SELECT room FROM hub_place WHERE membership = $1 ORDER BY room`, some(membership))
}

// HubAssetHost implements hub.Places.
func (s *Store) HubAssetHost(ctx context.Context, host string) (bool, error) {
	var room string
	return s.get(ctx, []any{&room}, `SELECT room FROM hub_asset_host WHERE host = $1 LIMIT 1`, host)
}

// reportText is what a report holds that nobody but administrators may read.
type reportText struct {
	Note     string
	Messages []hub.Reported
}

func reportPlace(number int64) []byte {
	return place("hub_report", binary.BigEndian.AppendUint64(nil, uint64(number)))
}

// PutHubReport implements hub.Vault. Note and messages are sealed.
func (s *Store) PutHubReport(ctx context.Context, r *hub.Report) error {
	text, err := json.Marshal(reportText{r.Note, r.Messages})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return s.Do(ctx, func(ctx context.Context) error {
		var number int64
		if _, err := s.get(ctx, []any{&number}, `SELECT COALESCE(MAX(number), 0) + 1 FROM hub_report`); err != nil {
			return err
		}
		_, err := s.exec(ctx, `INSERT INTO hub_report (number, room, provider, reporter, accused, reason, made, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, number, r.Room.String(), r.From.String(), r.Reporter, r.Accused, int64(r.Reason), r.At.UnixMilli(),
			s.seal(reportPlace(number), text))
		return err
	})
}

// HubReports implements hub.Vault.
func (s *Store) HubReports(ctx context.Context, limit int) ([]hub.Report, error) {
	var list []hub.Report
	err := s.query(ctx, func(scan func(...any) error) error {
		var r hub.Report
		var number, made int64
		var room, provider string
		var sealed []byte
		err := scan(&number, &room, &provider, &r.Reporter, &r.Accused, &r.Reason, &made, &sealed)
		if err != nil {
			return err
		}
		if r.Room, err = uri.ParseRoom(room); err != nil {
			return err
		}
		if r.From, err = uri.ParseProvider(provider); err != nil {
			return err
		}
		data, err := s.unseal(reportPlace(number), sealed)
		if err != nil {
			return err
		}
		var text reportText
		if err := json.Unmarshal(data, &text); err != nil {
			return fmt.Errorf("store: report: %w", err)
		}
		r.At, r.Note, r.Messages = time.UnixMilli(made), text.Note, text.Messages
		list = append(list, r)
		return nil
	}, `SELECT number, room, provider, reporter, accused, reason, made, body FROM hub_report ORDER BY number DESC LIMIT $1`, limit)
	return list, err
}
