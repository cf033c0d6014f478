package xmpp

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// commandNode is the node of the one command (XEP-0050) that we offer: whatever one may say to the gateway.
const commandNode = "mimigate"

// serveIQ answers a question that somebody asks one of our names.
func (a *Adapter) serveIQ(l *link.Link, n *wire.Node) *wire.Node {
	kind := n.Attr("type")
	if kind != "get" && kind != "set" || len(n.Kids) == 0 {
		return nil
	}
	payload := n.Kids[0]
	switch payload.Name.Space + " " + payload.Name.Local {
	case wire.NSPing + " ping":
		return wire.Result(n, nil)
	case wire.NSDiscoInfo + " query":
		return a.serveInfo(n, payload)
	case wire.NSDiscoItems + " query":
		return a.serveItems(n, payload)
	case wire.NSVersion + " query":
		return wire.Result(n, wire.El(wire.NSVersion, "query", wire.El("", "name").Put("mimigate")))
	case wire.NSCommands + " command":
		if kind == "set" {
			return a.serveCommand(l, n, payload)
		}
	}
	return wire.ErrorReply(n, "cancel", "service-unavailable", "")
}

// features are what our names can do, for clients that ask (XEP-0030).
var features = []string{wire.NSDiscoInfo, wire.NSPing, wire.NSVersion, wire.NSCorrect, wire.NSRetract, wire.NSReactions, wire.NSReply, wire.NSFallback, wire.NSReceipts, wire.NSMarkers, wire.NSStates,
	wire.NSStanzaID, wire.NSOOB, wire.NSConference, wire.NSStyling}

func (a *Adapter) serveInfo(n, payload *wire.Node) *wire.Node {
	query := wire.El(wire.NSDiscoInfo, "query").With("node", payload.Attr("node"))
	gateway := a.toGateway(n)
	switch {
	case payload.Attr("node") == commandNode && gateway:
		query.Add(wire.El("", "identity").With("category", "automation").With("type", "command-node").With("name", "Say something to the gateway"),
			wire.El("", "feature").With("var", wire.NSCommands), wire.El("", "feature").With("var", wire.NSForm))
		return wire.Result(n, query)
	case gateway:
		query.Add(wire.El("", "identity").With("category", "gateway").With("type", "mimi").With("name", "mimigate: "+a.account.Provider.Domain()),
			wire.El("", "feature").With("var", wire.NSCommands), wire.El("", "feature").With("var", wire.NSDiscoItems))
	default:
		query.Add(wire.El("", "identity").With("category", "client").With("type", "pc").With("name", "mimigate"))
	}
	for _, f := range features {
		query.Add(wire.El("", "feature").With("var", f))
	}
	return wire.Result(n, query)
}

func (a *Adapter) serveItems(n, payload *wire.Node) *wire.Node {
	query := wire.El(wire.NSDiscoItems, "query").With("node", payload.Attr("node"))
	if payload.Attr("node") == wire.NSCommands && a.toGateway(n) {
		query.Add(wire.El("", "item").With("jid", n.Attr("to")).With("node", commandNode).With("name", "Say something to the gateway"))
	}
	return wire.Result(n, query)
}

// toGateway reports whether a stanza is to the gateway itself, not to one of our people.
func (a *Adapter) toGateway(n *wire.Node) bool {
	to := wire.Bare(n.Attr("to"))
	return to == a.JID || to == a.Domain || to == ""
}

// serveCommand takes a command: first it asks for the words, then it reports them. The answer comes as a message.
func (a *Adapter) serveCommand(l *link.Link, n, command *wire.Node) *wire.Node {
	if command.Attr("node") != commandNode || !a.toGateway(n) {
		return wire.ErrorReply(n, "cancel", "item-not-found", "")
	}
	out := wire.El(wire.NSCommands, "command").With("node", commandNode).With("sessionid", command.Attr("sessionid"))
	if action := command.Attr("action"); action == "cancel" {
		return wire.Result(n, out.With("status", "canceled"))
	}
	words, answered := "", false
	for _, f := range command.Child(wire.NSForm, "x").Children("", "field") {
		if f.Attr("var") == "words" {
			words, answered = strings.TrimSpace(f.Child("", "value").Chars()), true
		}
	}
	if !answered || words == "" {
		out.Set("sessionid", rand.Text())
		return wire.Result(n, out.With("status", "executing").Add(
			wire.El("", "actions", wire.El("", "complete")).With("execute", "complete"),
			wire.El(wire.NSForm, "x", wire.El("", "title").Put("Say something to the gateway"),
				wire.El("", "instructions").Put("The answer comes as a message."),
				wire.El("", "field", wire.El("", "required")).With("var", "words").With("type", "text-single").With("label", "Words, such as: help")).
				With("type", "form")))
	}
	c := talk.Direct(a.JID, wire.Bare(n.Attr("from")))
	ev := adapter.Event{Conversation: c, ID: talk.Given("command:" + command.Attr("sessionid") + ":" + n.Attr("id")), Sender: talk.PersonOf(wire.Bare(n.Attr("from"))),
		Time: time.Now(), Body: adapter.Command{Text: strings.ToValidUTF8(words, ""), Private: true}}
	if !a.push(l, c, func(ctx context.Context, l *link.Link) error { return l.Receive(ctx, ev) }) {
		return wire.ErrorReply(n, "wait", "talk.Resource-constraint", "Too much waits. Please try again later.")
	}
	return wire.Result(n, out.With("status", "completed").Add(wire.El("", "note").With("type", "info").Put("The answer comes as a message.")))
}

// subscription answers those who want to see one of our names among their contacts: whoever writes to us may. Nothing is asked of
// them in return.
func (a *Adapter) subscription(n *wire.Node) *wire.Node {
	from, to := n.Attr("from"), wire.Bare(n.Attr("to"))
	if !a.Component || a.IsOurs(from) || !a.IsOurs(to) {
		return nil
	}
	if _, err := a.PersonAt(to); err != nil {
		return nil
	}
	answer := wire.El("", "presence").With("from", to).With("to", wire.Bare(from))
	switch n.Attr("type") {
	case "subscribe":
		return answer.With("type", "subscribed")
	case "unsubscribe":
		return answer.With("type", "unsubscribed")
	case "probe":
		answer.Set("from", to+"/"+talk.Resource)
		return answer
	}
	return nil
}
