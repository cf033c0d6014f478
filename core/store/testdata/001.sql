-- Rows as version 1 of the schema may hold them.
INSERT INTO setting (name, value) VALUES ('domain', 'chat.example.org');
INSERT INTO data_key (id, made, master, sealed) VALUES (1, 1790000000000, '0011223344556677', X'00');
INSERT INTO room_owner (room, owner, fence) VALUES ('mimi://chat.example.org/r/a', 'someone', 7);
INSERT INTO account_state (account, key, value) VALUES ('from version 1', X'6B', X'00');
INSERT INTO mls_record (state, key, value) VALUES (X'67', X'', X'00');
