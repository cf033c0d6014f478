# A Matrix client on matrix-nio, driven by nio.go. Arguments: homeserver, user id, device id, access token, encryption (0 or 1).
import base64, io, nio, os


class Client:
    def __init__(self, homeserver, user, device, token, encryption):
        config = nio.AsyncClientConfig(encryption_enabled=encryption == "1", max_timeout_retry_wait_time=0.5, backoff_factor=0.05)
        self.nio = nio.AsyncClient(homeserver, user, device, store_path=".", config=config)
        self.nio.restore_login(user, device, token)
        self.nio.add_event_callback(self.timeline, None)
        self.nio.add_event_callback(self.invite, nio.InviteMemberEvent)
        self.nio.add_ephemeral_callback(self.ephemeral, None)
        self.nio.add_response_callback(self.left, nio.SyncResponse)

    async def sync(self):
        await self.nio.sync_forever(timeout=30000, sync_filter={"room": {"timeline": {"limit": 5000}}}, set_presence="offline")

    def timeline(self, room, event):
        if isinstance(event, nio.InviteEvent):
            return
        happened(event.source | {"room": room.room_id, "decrypted": bool(getattr(event, "decrypted", False)), "event_id": event.event_id, "sender": event.sender})

    def left(self, response):  # what happened in rooms before the user was out: nio has no callback for it
        for room, info in response.rooms.leave.items():
            for event in info.timeline.events:
                happened(event.source | {"room": room})

    def invite(self, room, event):
        if event.state_key == self.nio.user_id:
            happened(event.source | {"room": room.room_id, "invite": True})

    def ephemeral(self, room, event):
        if isinstance(event, nio.TypingNoticeEvent):
            happened({"room": room.room_id, "type": "m.typing", "content": {"user_ids": event.users}})
        elif isinstance(event, nio.ReceiptEvent):
            happened({"room": room.room_id, "type": "m.receipt", "content": {"receipts": [
                {"event_id": r.event_id, "user_id": r.user_id, "type": r.receipt_type} for r in event.receipts]}})

    async def call(self, response):
        response = await response
        if isinstance(response, nio.ErrorResponse):
            raise RuntimeError(f"{response.status_code} {response.message}")
        return response

    async def do_create(self, name, alias, invite, public, encrypted):
        state = [nio.EnableEncryptionBuilder().as_dict()] if encrypted else []
        preset = nio.RoomPreset.public_chat if public else nio.RoomPreset.private_chat
        r = await self.call(self.nio.room_create(name=name or None, alias=alias or None, invite=invite or [], preset=preset, initial_state=state))
        return r.room_id

    async def do_join(self, room):
        return (await self.call(self.nio.join(room))).room_id

    async def do_leave(self, room):
        await self.call(self.nio.room_leave(room))

    async def do_invite(self, room, user):
        await self.call(self.nio.room_invite(room, user))

    async def do_kick(self, room, user, reason):
        await self.call(self.nio.room_kick(room, user, reason))

    async def do_ban(self, room, user, reason):
        await self.call(self.nio.room_ban(room, user, reason))

    async def do_unban(self, room, user):
        await self.call(self.nio.room_unban(room, user))

    async def do_send(self, room, type, content):
        return (await self.call(self.nio.room_send(room, type, content, ignore_unverified_devices=True))).event_id

    async def do_redact(self, room, event, reason):
        return (await self.call(self.nio.room_redact(room, event, reason or None))).event_id

    async def do_put_state(self, room, type, key, content):
        return (await self.call(self.nio.room_put_state(room, type, content, key))).event_id

    async def do_state(self, room):
        return (await self.call(self.nio.room_get_state(room))).events

    async def do_messages(self, room, limit):
        events, start = [], None
        while len(events) < limit:  # the server has a limit of its own for a page
            r = await self.call(self.nio.room_messages(room, start, direction=nio.MessageDirection.back, limit=limit - len(events)))
            events += r.chunk
            start = r.end
            if not r.end or not r.chunk:
                break
        return [e.source | {"room": room} for e in reversed(events)]

    async def do_members(self, room):
        r = await self.call(self.nio.joined_members(room))
        return [{"id": m.user_id, "name": m.display_name or "", "avatar": m.avatar_url or ""} for m in r.members]

    async def do_set_name(self, name):
        await self.call(self.nio.set_displayname(name))

    async def do_set_avatar(self, url):
        await self.call(self.nio.set_avatar(url))

    async def do_upload(self, data, type, name):
        data = base64.b64decode(data)
        r, _ = await self.nio.upload(io.BytesIO(data), content_type=type, filename=name, filesize=len(data))
        if isinstance(r, nio.ErrorResponse):
            raise RuntimeError(f"{r.status_code} {r.message}")
        return r.content_uri

    async def do_download(self, url):
        r = await self.call(self.nio.download(url))
        return {"data": base64.b64encode(r.body).decode(), "type": r.content_type}

    async def do_typing(self, room, on):
        await self.call(self.nio.room_typing(room, on))

    async def do_read(self, room, event):
        await self.call(self.nio.update_receipt_marker(room, event))


async def main():
    client = Client(*sys.argv[1:])
    sync = asyncio.create_task(client.sync())
    await client.nio.synced.wait()
    say({"id": 0, "result": client.nio.user_id})
    work = asyncio.create_task(requests(client))
    done, _ = await asyncio.wait([sync, work], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    os._exit(0)  # a session in the middle of a request takes seconds to close


asyncio.run(main())
