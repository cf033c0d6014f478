-- Rows as version 4 of the schema may hold them.
INSERT INTO setting (name, value) VALUES ('domain', 'chat.example.org');
INSERT INTO data_key (id, made, master, sealed) VALUES (1, 1790000000000, '0011223344556677', X'00');
INSERT INTO account_state (account, key, value) VALUES ('from version 1', X'6B', X'00');
INSERT INTO hub_room (room, sequence, accepted, group_info) VALUES ('mimi://chat.example.org/r/a', 2, 1790000000001, X'00');
INSERT INTO hub_proposal (room, position, sequence, accepted, message) VALUES ('mimi://chat.example.org/r/a', 0, 2, 1790000000001, X'00');
INSERT INTO hub_answer (request, answer, made) VALUES (X'00', X'00', 1790000000001);
INSERT INTO hub_event (room, sequence, body, welcome) VALUES ('mimi://chat.example.org/r/a', 2, X'00', NULL);
INSERT INTO hub_outbox (room, provider, sequence, parts) VALUES ('mimi://chat.example.org/r/a', 'mimi://b.example', 2, 1);
INSERT INTO hub_secret (name, value) VALUES ('frank', X'00');
INSERT INTO follower_inbox (room, number, body) VALUES ('mimi://chat.example.org/r/a', 1, X'00');
INSERT INTO follower_seen (hash, made) VALUES (X'00', 1790000000001);
INSERT INTO member_outgoing (room, number, sender, id, content, message, hash, after)
	VALUES ('mimi://chat.example.org/r/a', 1, 'mimi://chat.example.org/u/a', X'01', X'00', NULL, NULL, 0);
INSERT INTO member_request (room, subject, number, role, exact, name, about, key_packages, alone)
	VALUES ('mimi://chat.example.org/r/a', 'mimi://chat.example.org/u/a', 1, 2, 0, '', '', X'', 0);
INSERT INTO member_commit (room, request, subjects, answered) VALUES ('mimi://chat.example.org/r/a', X'00', 'mimi://chat.example.org/u/a', 0);
INSERT INTO member_message (room, id, sender, topic, reaction, accepted)
	VALUES ('mimi://chat.example.org/r/a', X'01', 'mimi://chat.example.org/u/a', X'', 0, 1790000000001);
INSERT INTO member_key_package (ref, secrets, expires) VALUES (X'00', X'00', 1790000000001);
INSERT INTO member_stale (room) VALUES ('mimi://chat.example.org/r/a');
INSERT INTO hub_place (room, parent, membership) VALUES ('mimi://chat.example.org/r/a', 'mimi://chat.example.org/r/b', X'00');
INSERT INTO hub_asset_host (room, host) VALUES ('mimi://chat.example.org/r/a', 'assets.example.org');
INSERT INTO hub_report (number, room, provider, reporter, accused, reason, made, body)
	VALUES (1, 'mimi://chat.example.org/r/a', 'mimi://b.example', '', 'mimi://b.example/u/b', 0, 1790000000001, X'00');
INSERT INTO consent (requester, target, room, state, made)
	VALUES ('mimi://b.example/u/b', 'mimi://chat.example.org/u/a', '', 1, 1790000000001);
INSERT INTO consent_outbox (provider, number, entry) VALUES ('mimi://b.example', 1, X'00');
INSERT INTO hub_link (room, link, made, guest) VALUES ('mimi://chat.example.org/r/a', 'code', 1790000000001, '');
INSERT INTO hub_guest (room, address, link) VALUES ('mimi://chat.example.org/r/a', 'mimi://b.example/u/b', 'code');
