package router

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/router/phrase"
	"mimigate/core/router/record"
	"mimigate/core/uri"
)

// Status returns the state of accounts and bindings.
func (r *Router) Status(ctx context.Context) (Status, error) {
	bindings, err := r.Store.Bindings(ctx, uri.Room{})
	if err != nil {
		return Status{}, err
	}
	counts, err := r.Store.CountDeliveries(ctx)
	if err != nil {
		return Status{}, err
	}
	var out Status
	for _, b := range bindings {
		s := BindingStatus{Binding: b, Counts: counts[b.Place]}
		if b.Opened() {
			known, err := r.Store.Conversation(ctx, b.Place)
			if err != nil {
				return Status{}, err
			}
			s.Title = known.Title
		}
		out.Bindings = append(out.Bindings, s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range out.Bindings {
		out.Bindings[i].Problem = r.problems[out.Bindings[i].Chat]
	}
	for _, id := range slices.Sorted(maps.Keys(r.accounts)) {
		out.Accounts = append(out.Accounts, *r.accounts[id])
	}
	out.Repeated = r.repeated
	return out, nil
}

// status takes in the state that an account reports. The admins hear of what needs them; an account that works again gets what waited.
func (r *Router) status(ctx context.Context, account Account, s adapter.Status) error {
	now := AccountStatus{Account: account.ID, Network: account.Network, State: s.State, Reason: s.Reason, Do: s.Do, Until: s.Until, Since: r.Now()}
	r.mu.Lock()
	before := r.accounts[account.ID]
	changed := before == nil || before.State != now.State || before.Reason != now.Reason
	if !changed {
		now.Since = before.Since
	}
	r.accounts[account.ID] = &now
	r.mu.Unlock()
	r.Log.Log(ctx, level(s.State), "account", "account", account.ID, "state", s.State.String(), "reason", s.Reason, "do", s.Do)
	if s.State == adapter.Connected {
		r.hurry(func(l *line) bool { return l.account == account.ID }) // it works again
	}
	if !changed || s.State <= adapter.Connected {
		return nil
	}
	return r.TellAccount(ctx, account.ID, s)
}

// TellAccount tells the admins how an account does.
func (r *Router) TellAccount(ctx context.Context, id string, s adapter.Status) error {
	text := strings.TrimSpace(r.say(phrase.Account, id, s.State.String(), s.Reason))
	if s.Do != "" {
		text += " " + r.say(phrase.Do, s.Do)
	}
	return r.tellAdmins(ctx, text)
}

// setProblem records why a binding does not work; empty: it does. It reports whether that is new.
func (r *Router) setProblem(chat Chat, problem string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := r.problems[chat] != problem
	if problem == "" {
		delete(r.problems, chat)
	} else {
		r.problems[chat] = problem
	}
	return changed
}

// say is a phrase in the language of the configuration.
func (r *Router) say(p phrase.Phrase, args ...any) string {
	return phrase.Say(r.Language, p, args...)
}

// tellAdmins says something in the admins' chat, if there is one; it waits there until the chat is open.
func (r *Router) tellAdmins(ctx context.Context, text string) error {
	r.mu.Lock()
	to, tell := r.tell, r.Tell
	r.mu.Unlock()
	if account, ok := r.Accounts.Account(tell.Account); ok && to.Conversation == "" {
		to = record.Provisional(account.Network, tell)
	}
	if to.Conversation == "" {
		r.Log.WarnContext(ctx, "nobody to tell", "text", text)
		return nil
	}
	return r.notice(ctx, to, tell.Account, uri.Room{}, content.Text(text))
}

// level is how loud the log says that an account is in a state.
func level(s adapter.AccountState) slog.Level {
	if s > adapter.Connected {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
