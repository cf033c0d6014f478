//go:build !nowhatsapp

package whatsapp

import (
	"testing"

	"go.mau.fi/whatsmeow/types"

	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
)

// TestSuite runs the suite that every adapter passes, in a group with people on phones.
func TestSuite(t *testing.T) {
	l := newLab(t, 2)
	one := "one account speaks for all our people"
	byAccount := []adapter.Driver{l.driver(0), l.driver(1)}
	adaptertest.Run(t, adaptertest.Network{
		Driver: adapter.Driver{Name: "whatsapp", Config: defaults, New: func(account adapter.Account) (adapter.Adapter, error) {
			return byAccount[account.ID[len(account.ID)-1]-'0'].New(account)
		}},
		Config: func(*testing.T, int) any {
			return &Config{Mode: modeRelay, AcceptBanRisk: true, MessagesPerMinute: 600}
		},
		Conversation: func(t *testing.T) string {
			return l.accounts[0].phone.NewGroup(t, t.Name(), l.accounts[1].phone).String()
		},
		Human: func(t *testing.T, conversation, name string) adaptertest.Human {
			group, err := types.ParseJID(conversation)
			if err != nil {
				t.Fatal(err)
			}
			return l.join(t, group, name)
		},
		Link:    func(_ *testing.T, i int) adaptertest.Link { return l.accounts[i].proxy },
		Missing: "120363999999999999@g.us",
		Lacks: map[adaptertest.Ability]string{
			adaptertest.OwnNames:    one,
			adaptertest.MemberOut:   one,
			adaptertest.KickOurs:    one,
			adaptertest.RenameOut:   one,
			adaptertest.ReactionOut: one + ", and it has one reaction on a message",
			adaptertest.RenameIn:    "WhatsApp tells of a new name with the next message only",
			adaptertest.Confirms:    "WhatsApp cannot be asked for a message; one that is sent again with the same id is shown once",
		},
	})
	for _, unknown := range l.Unknown() {
		t.Errorf("waserver does not know %s", unknown)
	}
}

var _ adaptertest.Human = (*person)(nil)
