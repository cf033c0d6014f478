package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mimigate/core/config"
	"mimigate/core/gateway/account"
)

// Changes are what a reload did, each named by its id in the configuration. What is not named was not touched: its connections, chats
// and queues went on meanwhile.
type Changes struct {
	Accounts, Rooms, Peers Difference
	// Restart are the keys that differ, but count only from the next start.
	Restart []string `json:",omitempty"`
	// Say is what else there is to tell: warnings of the configuration, and what could not be applied.
	Say []string `json:",omitempty"`
}

// Difference is what of a list is new, otherwise, or gone.
type Difference = config.Difference

// ErrConfig: the configuration cannot be applied, and nothing was changed. The text says why.
var ErrConfig = errors.New("the configuration was not reloaded")

// Reload reads the configuration again and applies what differs. An account, room or peer that was added, changed or removed touches
// only itself. A configuration that is wrong changes nothing: the error wraps ErrConfig and tells all that is wrong. Rooms and bindings
// that were made by command stay (design §10).
func (g *Gateway) Reload(ctx context.Context) (Changes, error) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	g.mu.Lock()
	run := g.run
	g.mu.Unlock()
	if g.options.Load == nil || run == nil {
		return Changes{}, fmt.Errorf("%w: the gateway does not run, or not from a file", ErrConfig)
	}
	after, err := g.options.Load()
	if err != nil {
		g.log.Error("the configuration was not reloaded", "error", err)
		return Changes{}, fmt.Errorf("%w: nothing was changed:\n%w", ErrConfig, err)
	}
	before := g.config.Load()
	if after.Provider.Domain != before.Provider.Domain {
		return Changes{}, fmt.Errorf("%w: provider.domain is part of every address and cannot be changed on an existing store", ErrConfig)
	}
	changes := Changes{Restart: restart(before, after)}
	changes.Accounts, changes.Rooms, changes.Peers = config.Compare(before, after)
	for _, w := range after.Warnings {
		changes.Say = append(changes.Say, w.String())
	}
	changes.Say = append(changes.Say, g.apply(ctx, run, after, changes)...)
	g.log.Info("the configuration was reloaded", "accounts", changes.Accounts, "rooms", changes.Rooms, "peers", changes.Peers, "restart", changes.Restart)
	return changes, nil
}

// restart returns the keys that differ and need a restart.
func restart(before, after *config.Config) (keys []string) {
	a, b := before.Provider, after.Provider
	for _, k := range []struct {
		name    string
		differs bool
	}{
		{"provider.listen", a.Listen != b.Listen},
		{"provider.store", a.Store != b.Store},
		{"provider.files", a.Files != b.Files && a.Store == b.Store},
		{"provider.master_key", a.MasterKey != b.MasterKey},
		{"provider.monitor", a.Monitor != b.Monitor},
		{"provider.language", a.Language != b.Language},
		{"federation", before.Federation != after.Federation},
		{"policies.cipher_suites", firstSuite(before) != firstSuite(after)},
	} {
		if k.differs {
			keys = append(keys, k.name)
		}
	}
	return keys
}

// apply makes the running gateway what a configuration says, and returns what could not be. g.reloading is held.
func (g *Gateway) apply(ctx, run context.Context, after *config.Config, changes Changes) (problems []string) {
	g.config.Store(after)
	g.persons.Join(joined(after))
	g.router.Adopt(admins(after), chat(after.Admins.Tell), rules(policyOf(after, config.DefaultPolicy)))
	g.replaceAccounts(run, after.Accounts, changes.Accounts)
	if err := g.federate(ctx); err != nil {
		problems = append(problems, err.Error())
	}
	g.arrange(ctx, slices.DeleteFunc(slices.Clone(after.Rooms), func(r config.Room) bool {
		return !changes.Rooms.Touches(r.ID) && g.problem(r.ID) == ""
	}))
	rooms, err := g.rooms(ctx)
	if err == nil {
		err = g.router.Configure(ctx, rooms)
	}
	for _, id := range append(slices.Clone(changes.Accounts.Added), changes.Accounts.Changed...) {
		err = errors.Join(err, g.router.Reopen(ctx, id))
	}
	if err != nil {
		g.log.Error("not everything is bound", "error", err)
		problems = append(problems, err.Error())
	}
	return problems
}

// replaceAccounts ends the accounts that are gone or otherwise, and only when these have ended runs those that take their place, as two
// connections of one login would throw each other out. All others go on.
func (g *Gateway) replaceAccounts(run context.Context, after []config.Account, d Difference) {
	g.mu.Lock()
	before := g.accounts
	kept := make([]*account.Account, 0, len(after))
	var gone []*account.Account
	for _, a := range before {
		if slices.Contains(d.Removed, a.ID()) || slices.Contains(d.Changed, a.ID()) {
			gone = append(gone, a)
		} else {
			kept = append(kept, a)
		}
	}
	g.accounts = kept
	g.mu.Unlock()
	for _, a := range gone {
		a.Land()
	}
	all := make([]*account.Account, 0, len(after))
	for _, c := range after {
		if i := slices.IndexFunc(kept, func(a *account.Account) bool { return a.ID() == c.ID }); i >= 0 {
			kept[i].SetUnbound(c.Unbound)
			all = append(all, kept[i])
			continue
		}
		all = append(all, g.newAccount(c))
	}
	g.mu.Lock()
	g.accounts = all
	g.mu.Unlock()
	for _, a := range all {
		if !a.Launched() {
			a.Launch(run, g.sink(a))
		}
	}
}
