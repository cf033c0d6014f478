package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mimigate/core/store/reseal"
)

// settingRotation says how far a change of the keys has come; none is there where no change is going on.
const settingRotation = "rotation"

const (
	rotationBegun   = "from "     // before the id of the master key that is to be replaced
	rotationReseals = "resealing" // there are a new master key and a new data key; values are sealed anew
	rotationEnds    = "ending"    // nothing is sealed under an old key any more; the key file has the old ones still
)

// Rotate replaces the keys: a new master key at the head of the key file (where the keys do not come from a file, the one that was put
// before the others there), a new data key, and every private column sealed under that, some at a time while other units
// have their turns. Old data keys are deleted, and old master keys moved to a file beside the key file, with ".old" at the end of its name: backups
// of before need them. It may be interrupted anywhere, even by a kill: the store can be used, and Rotate again goes on
// where it was. progress is called after each step with the number of values sealed anew so far, and stops it with an error.
func (s *Store) Rotate(ctx context.Context, progress func(values int) error) error {
	r := &rotation{store: s, progress: progress}
	for _, step := range []func(context.Context) error{r.begin, r.newKeys, r.reseal, r.end} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("store: rotation of the keys: %w", err)
		}
	}
	return nil
}

type rotation struct {
	store    *Store
	progress func(int) error
	values   int
}

func (r *rotation) told() error {
	if r.progress == nil {
		return nil
	}
	return r.progress(r.values)
}

// begin makes the new master key in the file, unless that was done before an interruption.
func (r *rotation) begin(ctx context.Context) error {
	s := r.store
	o := s.options
	state, found, err := s.setting(ctx, settingRotation)
	if err != nil || o.KeyFile == "" || found && !strings.HasPrefix(state, rotationBegun) {
		return err
	}
	keys, err := o.masters(false)
	if err != nil {
		return err
	}
	now, _ := keys.Current()
	if !found {
		state = rotationBegun + now.ID
		if err := errors.Join(s.setSetting(ctx, settingRotation, state), r.told()); err != nil {
			return err
		}
	}
	if state != rotationBegun+now.ID {
		return nil
	}
	fresh, err := keys.Fresh()
	if err != nil {
		return err
	}
	return errors.Join(fresh.WriteFile(o.KeyFile), r.told())
}

// newKeys seals the data keys under the new master key, and makes a new data key.
func (r *rotation) newKeys(ctx context.Context) error {
	s := r.store
	state, _, err := s.setting(ctx, settingRotation)
	if err != nil || state == rotationReseals || state == rotationEnds {
		return err
	}
	err = s.Do(ctx, func(ctx context.Context) error {
		if err := s.openSealer(ctx, s.options, time.Now()); err != nil {
			return err
		}
		keys, err := s.options.masters(false)
		if err != nil {
			return err
		}
		master, _ := keys.Current()
		if err := s.addDataKey(ctx, master, time.Now()); err != nil {
			return err
		}
		return s.setSetting(ctx, settingRotation, rotationReseals)
	})
	return errors.Join(err, r.told())
}

// reseal seals everything anew, and then deletes the old data keys.
func (r *rotation) reseal(ctx context.Context) error {
	s := r.store
	state, _, err := s.setting(ctx, settingRotation)
	if err != nil || state != rotationReseals {
		return err
	}
	for _, c := range reseal.Columns() {
		var after []any
		for n := reseal.Max; n == reseal.Max; {
			if err := s.Do(ctx, func(ctx context.Context) error {
				var err error
				after, n, err = reseal.Page(ctx, s.work, s.sealer.Load(), c, after)
				return err
			}); err != nil {
				return err
			}
			r.values += n
			if err := r.told(); err != nil {
				return err
			}
		}
	}
	err = s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `DELETE FROM data_key WHERE id <> $1`, int64(s.sealer.Load().Current())); err != nil {
			return err
		}
		return s.setSetting(ctx, settingRotation, rotationEnds)
	})
	return errors.Join(err, r.told())
}

// end takes the old keys out of the key file.
func (r *rotation) end(ctx context.Context) error {
	s := r.store
	if path := s.options.KeyFile; path != "" {
		keys, err := s.options.masters(false)
		if err != nil {
			return err
		}
		if err := keys.Past().Append(path + ".old"); err != nil {
			return err
		}
		if err := errors.Join(r.told(), keys.Only().WriteFile(path), r.told()); err != nil {
			return err
		}
	}
	return s.setSetting(ctx, settingRotation, "")
}
