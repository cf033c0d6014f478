package xmpp

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"mimigate/core/adapter"
)

// commandNode is the node of the one command (XEP-0050) that we offer: whatever one may say to the gateway.
const commandNode = "mimigate"

// serveIQ answers a question that somebody asks one of our names.
func (a *Adapter) serveIQ(l *link, n *node) *node {
	kind := n.attr("type")
	if kind != "get" && kind != "set" || len(n.kids) == 0 {
		return nil
	}
	payload := n.kids[0]
	switch payload.name.Space + " " + payload.name.Local {
	case nsPing + " ping":
		return result(n, nil)
	case nsDiscoInfo + " query":
		return a.serveInfo(n, payload)
	case nsDiscoItems + " query":
		return a.serveItems(n, payload)
	case nsVersion + " query":
		return result(n, el(nsVersion, "query", el("", "name").put("mimigate")))
	case nsCommands + " command":
		if kind == "set" {
			return a.serveCommand(l, n, payload)
		}
	}
	return errorReply(n, "cancel", "service-unavailable", "")
}

// result is a stanza's answer of type result.
func result(n, payload *node) *node {
	return el("", "iq").with("type", "result").with("id", n.attr("id")).with("to", n.attr("from")).with("from", n.attr("to")).add(payload)
}

// features are what our names can do, for clients that ask (XEP-0030).
var features = []string{nsDiscoInfo, nsPing, nsVersion, nsCorrect, nsRetract, nsReactions, nsReply, nsFallback, nsReceipts, nsMarkers, nsStates,
	nsStanzaID, nsOOB, nsConference, nsStyling}

func (a *Adapter) serveInfo(n, payload *node) *node {
	query := el(nsDiscoInfo, "query").with("node", payload.attr("node"))
	gateway := a.toGateway(n)
	switch {
	case payload.attr("node") == commandNode && gateway:
		query.add(el("", "identity").with("category", "automation").with("type", "command-node").with("name", "Say something to the gateway"),
			el("", "feature").with("var", nsCommands), el("", "feature").with("var", nsForm))
		return result(n, query)
	case gateway:
		query.add(el("", "identity").with("category", "gateway").with("type", "mimi").with("name", "mimigate: "+a.account.Provider.Domain()),
			el("", "feature").with("var", nsCommands), el("", "feature").with("var", nsDiscoItems))
	default:
		query.add(el("", "identity").with("category", "client").with("type", "pc").with("name", "mimigate"))
	}
	for _, f := range features {
		query.add(el("", "feature").with("var", f))
	}
	return result(n, query)
}

func (a *Adapter) serveItems(n, payload *node) *node {
	query := el(nsDiscoItems, "query").with("node", payload.attr("node"))
	if payload.attr("node") == nsCommands && a.toGateway(n) {
		query.add(el("", "item").with("jid", n.attr("to")).with("node", commandNode).with("name", "Say something to the gateway"))
	}
	return result(n, query)
}

// toGateway reports whether a stanza is to the gateway itself, not to one of our people.
func (a *Adapter) toGateway(n *node) bool {
	to := bare(n.attr("to"))
	return to == a.self || to == a.domain || to == ""
}

// serveCommand takes a command: first it asks for the words, then it reports them. The answer comes as a message.
func (a *Adapter) serveCommand(l *link, n, command *node) *node {
	if command.attr("node") != commandNode || !a.toGateway(n) {
		return errorReply(n, "cancel", "item-not-found", "")
	}
	out := el(nsCommands, "command").with("node", commandNode).with("sessionid", command.attr("sessionid"))
	if action := command.attr("action"); action == "cancel" {
		return result(n, out.with("status", "canceled"))
	}
	words, answered := "", false
	for _, f := range command.child(nsForm, "x").children("", "field") {
		if f.attr("var") == "words" {
			words, answered = strings.TrimSpace(f.child("", "value").chars()), true
		}
	}
	if !answered || words == "" {
		out.set("sessionid", rand.Text())
		return result(n, out.with("status", "executing").add(
			el("", "actions", el("", "complete")).with("execute", "complete"),
			el(nsForm, "x", el("", "title").put("Say something to the gateway"),
				el("", "instructions").put("The answer comes as a message."),
				el("", "field", el("", "required")).with("var", "words").with("type", "text-single").with("label", "Words, such as: help")).
				with("type", "form")))
	}
	c := direct(a.self, bare(n.attr("from")))
	ev := adapter.Event{Conversation: c, ID: given("command:" + command.attr("sessionid") + ":" + n.attr("id")), Sender: personOf(bare(n.attr("from"))),
		Time: time.Now(), Body: adapter.Command{Text: strings.ToValidUTF8(words, ""), Private: true}}
	if !a.lane(c).push(l, func(ctx context.Context, l *link) error { return l.receive(ctx, ev) }) {
		return errorReply(n, "wait", "resource-constraint", "Too much waits. Please try again later.")
	}
	return result(n, out.with("status", "completed").add(el("", "note").with("type", "info").put("The answer comes as a message.")))
}

// subscription answers those who want to see one of our names among their contacts: whoever writes to us may. Nothing is asked of
// them in return.
func (a *Adapter) subscription(n *node) *node {
	from, to := n.attr("from"), bare(n.attr("to"))
	if !a.component || a.isOurs(from) || !a.isOurs(to) {
		return nil
	}
	if _, err := a.personAt(to); err != nil {
		return nil
	}
	answer := el("", "presence").with("from", to).with("to", bare(from))
	switch n.attr("type") {
	case "subscribe":
		return answer.with("type", "subscribed")
	case "unsubscribe":
		return answer.with("type", "unsubscribed")
	case "probe":
		answer.set("from", to+"/"+resource)
		return answer
	}
	return nil
}
