package store

import (
	"context"
	"fmt"

	"mimigate/core/adapter"
)

const (
	stateKeyMax   = 255
	stateValueMax = 1 << 20
)

// State returns what one account keeps over restarts. Account ids are those of the configuration.
func (s *Store) State(account string) adapter.State { return accountState{s, account} }

type accountState struct {
	store   *Store
	account string
}

var _ adapter.State = accountState{}

func (a accountState) place(key string) []byte {
	return place("account_state", []byte(a.account), []byte(key))
}

// Get implements adapter.State.
func (a accountState) Get(ctx context.Context, key string) ([]byte, error) {
	var sealed []byte
	found, err := a.store.get(ctx, []any{&sealed}, `SELECT value FROM account_state WHERE account = $1 AND key = $2`, a.account, []byte(key))
	if err != nil || !found {
		return nil, err
	}
	return a.store.unseal(a.place(key), sealed)
}

// Put implements adapter.State.
func (a accountState) Put(ctx context.Context, key string, value []byte) error {
	if len(key) > stateKeyMax || len(value) > stateValueMax {
		return fmt.Errorf("store: account state of %s: a key of %d octets (at most %d) with a value of %d (at most %d)",
			a.account, len(key), stateKeyMax, len(value), stateValueMax)
	}
	if value == nil {
		_, err := a.store.exec(ctx, `DELETE FROM account_state WHERE account = $1 AND key = $2`, a.account, []byte(key))
		return err
	}
	_, err := a.store.exec(ctx, `INSERT INTO account_state (account, key, value) VALUES ($1, $2, $3)
		ON CONFLICT (account, key) DO UPDATE SET value = excluded.value`, a.account, []byte(key), a.store.seal(a.place(key), value))
	return err
}
