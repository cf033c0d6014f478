# An XMPP client on slixmpp, driven by slix.go. Arguments: host, port, JID, password.
import base64, logging, urllib.request, uuid
import xml.etree.ElementTree as ET
import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

CLIENT, MUC, SID, FORWARD, DELAY = "{jabber:client}", "{http://jabber.org/protocol/muc#user}", "{urn:xmpp:sid:0}", "{urn:xmpp:forward:0}", "{urn:xmpp:delay}"
MAM, REPLY, REACTIONS, RETRACT, OCCUPANT = "{urn:xmpp:mam:2}", "{urn:xmpp:reply:0}", "{urn:xmpp:reactions:0}", "{urn:xmpp:message-retract:1}", "{urn:xmpp:occupant-id:0}"
STATES, MARKERS, RECEIPTS, CORRECT = "{http://jabber.org/protocol/chatstates}", "{urn:xmpp:chat-markers:0}", "{urn:xmpp:receipts}", "{urn:xmpp:message-correct:0}"
ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


def describe(xml):
    """A message or presence in the words of slix.go's Stanza."""
    def attr(path, name):
        e = xml.find(path)
        return e.get(name, "") if e is not None else ""
    def first(namespace):
        return next((e.tag[len(namespace):] for e in xml if e.tag.startswith(namespace)), "")
    error = xml.find(CLIENT + "error")
    return {
        "kind": xml.tag[len(CLIENT):], "from": xml.get("from", ""), "to": xml.get("to", ""), "type": xml.get("type", ""), "id": xml.get("id", ""),
        "body": xml.findtext(CLIENT + "body", ""), "subject": xml.findtext(CLIENT + "subject"),
        "stanza_id": attr(SID + "stanza-id", "id"), "stanza_id_by": attr(SID + "stanza-id", "by"), "origin_id": attr(SID + "origin-id", "id"),
        "occupant_id": attr(OCCUPANT + "occupant-id", "id"), "delay": attr(DELAY + "delay", "stamp"),
        "replace": attr(CORRECT + "replace", "id"), "reply_id": attr(REPLY + "reply", "id"), "reply_to": attr(REPLY + "reply", "to"),
        "reactions_to": attr(REACTIONS + "reactions", "id"), "reactions": [e.text or "" for e in xml.findall(f"{REACTIONS}reactions/{REACTIONS}reaction")],
        "retract": attr(RETRACT + "retract", "id"),
        "receipt": attr(RECEIPTS + "received", "id"), "state": first(STATES), "marker": first(MARKERS), "marker_id": next((e.get("id", "") for e in xml if e.tag.startswith(MARKERS)), ""),
        "status": [int(e.get("code")) for e in xml.findall(f"{MUC}x/{MUC}status")], "new_nick": attr(f"{MUC}x/{MUC}item", "nick"), "jid": attr(f"{MUC}x/{MUC}item", "jid"),
        "role": attr(f"{MUC}x/{MUC}item", "role"), "affiliation": attr(f"{MUC}x/{MUC}item", "affiliation"),
        "reason": xml.findtext(f"{MUC}x/{MUC}item/{MUC}reason", ""),
        "error": next((e.tag[len(ERRORS):] for e in error if e.tag.startswith(ERRORS)), "unknown") if error is not None else "",
        "xml": ET.tostring(xml, encoding="unicode"),
    }


class Client(slixmpp.ClientXMPP):
    def __init__(self, host, port, jid, password):
        super().__init__(jid, password)
        self.address = (host, int(port))
        self.enable_starttls = self.enable_direct_tls = False
        self.enable_plaintext = True
        for p in ("xep_0030", "xep_0045", "xep_0085", "xep_0184", "xep_0199", "xep_0280", "xep_0308", "xep_0313", "xep_0333", "xep_0359", "xep_0363", "xep_0421", "xep_0424", "xep_0444", "xep_0461"):
            self.register_plugin(p)
        self.plugin["feature_mechanisms"].unencrypted_scram = True
        self.register_handler(Callback("every message", MatchXPath(CLIENT + "message"), self.on_message))
        self.register_handler(Callback("every presence", MatchXPath(CLIENT + "presence"), self.on_presence))
        self.add_event_handler("session_start", self.on_session)
        self.add_event_handler("failed_all_auth", lambda e: self.outcome(RuntimeError("not authorised")))
        self.add_event_handler("disconnected", self.on_disconnected)
        self.session = None
        self.refused = {}  # by room: the future that an error presence ends

    def outcome(self, error=None):
        if self.session and not self.session.done():
            self.session.set_exception(error) if error else self.session.set_result(None)

    async def on_session(self, _):
        try:
            self.send_presence()
            await self.get_roster()
            await self.plugin["xep_0280"].enable()
            self.outcome()
        except Exception as e:
            self.outcome(e)

    def on_disconnected(self, reason):
        self.outcome(RuntimeError(f"disconnected: {reason}"))
        happened({"kind": "disconnected"})

    def on_message(self, m):
        carbon = next((e for e in m.xml if e.tag in ("{urn:xmpp:carbons:2}sent", "{urn:xmpp:carbons:2}received")), None)
        if carbon is not None:
            inner = carbon.find(f"{FORWARD}forwarded/{CLIENT}message")
            happened(describe(inner) | {"carbon": True})
        elif m.xml.find(MAM + "result") is None:
            happened(describe(m.xml))

    def on_presence(self, p):
        about = describe(p.xml)
        happened(about)
        refused = self.refused.get(p["from"].bare)
        if about["error"] and refused and not refused.done():
            refused.set_result(about["error"])

    async def do_connect(self):
        self.session = asyncio.get_running_loop().create_future()
        self.connect(*self.address)
        await asyncio.wait_for(self.session, 20)
        return str(self.boundjid)

    async def do_disconnect(self):
        await self.disconnect()

    async def do_join(self, room, nick, history):
        refused = self.refused[room] = asyncio.get_running_loop().create_future()
        join = asyncio.ensure_future(self.plugin["xep_0045"].join_muc_wait(slixmpp.JID(room), nick, maxstanzas=history, timeout=20))
        await asyncio.wait([join, refused], return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            join.cancel()
            raise RuntimeError(refused.result())
        await join

    async def do_leave(self, room):
        muc = self.plugin["xep_0045"]
        muc.leave_muc(slixmpp.JID(room), muc.our_nicks[None][slixmpp.JID(room)])

    async def do_nick(self, room, nick):
        await self.plugin["xep_0045"].set_self_nick(slixmpp.JID(room), nick, timeout=20)

    async def do_subject(self, room, subject):
        self.plugin["xep_0045"].set_subject(room, subject)

    async def do_role(self, room, nick, role, reason):
        await self.plugin["xep_0045"].set_role(slixmpp.JID(room), nick, role, reason=reason)

    async def do_affiliation(self, room, jid, affiliation, reason):
        await self.plugin["xep_0045"].set_affiliation(slixmpp.JID(room), affiliation, jid=slixmpp.JID(jid), reason=reason)

    async def do_configure(self, room, fields):
        form = await self.plugin["xep_0045"].get_room_config(slixmpp.JID(room))
        form["type"] = "submit"
        form.set_values(fields)
        await self.plugin["xep_0045"].set_room_config(slixmpp.JID(room), form)

    async def do_destroy(self, room, reason):
        await self.plugin["xep_0045"].destroy(slixmpp.JID(room), reason)

    async def do_send(self, to, type, id, body, reply_id, reply_to, quote, replace, reactions_to, reactions, retract, receipt, state, extra):
        m = self.make_message(mto=slixmpp.JID(to), mtype=type, mbody=body or None)
        m["id"] = id or str(uuid.uuid4())
        if reply_id:
            m["reply"]["id"] = reply_id
            m["reply"]["to"] = reply_to
            if quote:
                m["reply"].add_quoted_fallback(quote)
        if replace:
            m["replace"]["id"] = replace
        if reactions_to:
            self.plugin["xep_0444"].set_reactions(m, reactions_to, reactions or [])
        if retract:
            m["retract"]["id"] = retract
            m["body"] = "This person attempted to retract a previous message."
            m.enable("fallback")
        if receipt:
            m["request_receipt"] = True
        if state:
            m["chat_state"] = state
        if extra:
            m.xml.extend(ET.fromstring(f"<x>{extra}</x>"))
        m.send()
        return m["id"]

    async def do_archive(self, jid, limit):
        found = []
        archive = self.plugin["xep_0313"]
        async for m in archive.iterate(jid=slixmpp.JID(jid) if jid else None, reverse=True, rsm={"max": min(limit, 100)}, total=limit):
            result = m.xml.find(MAM + "result")
            forwarded = result.find(FORWARD + "forwarded")
            about = {"archive_id": result.get("id"), "delay": forwarded.find(DELAY + "delay").get("stamp")}
            found.append(describe(forwarded.find(CLIENT + "message")) | about)
        return found[::-1]

    async def do_upload(self, service, name, type, data):
        data = base64.b64decode(data)
        slot = (await self.plugin["xep_0363"].request_slot(slixmpp.JID(service), name, len(data), type))["http_upload_slot"]
        headers = {h["name"]: h["value"] for h in slot["put"]["headers"]} | {"Content-Type": type}
        put = urllib.request.Request(slot["put"]["url"], data=data, method="PUT", headers=headers)
        await asyncio.get_running_loop().run_in_executor(None, lambda: urllib.request.urlopen(put, timeout=20).read())
        return slot["get"]["url"]

    async def do_iq(self, to, type, payload):
        iq = self.make_iq(ito=to or None, itype=type)
        iq.append(ET.fromstring(payload))
        return ET.tostring((await iq.send(timeout=20)).xml, encoding="unicode")

    async def do_raw(self, xml):
        self.send_raw(xml)


async def main():
    client = Client(*sys.argv[1:])
    say({"id": 0, "result": await client.do_connect()})
    await requests(client)
    await client.disconnect(wait=0.2, ignore_send_queue=True)


logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
asyncio.run(main())
