-- Rooms: what the hub accepted and has yet to tell, what followers were told, and what our people are about to say and change. The
-- groups themselves are in mls_record. Times are Unix milliseconds, rooms and people mimi URIs.

-- hub
CREATE TABLE hub_room (
	room       TEXT   NOT NULL PRIMARY KEY,
	sequence   BIGINT NOT NULL, -- of the last event
	accepted   BIGINT NOT NULL, -- and its time
	group_info BYTEA  NOT NULL
);

CREATE TABLE hub_proposal (
	room     TEXT   NOT NULL,
	position BIGINT NOT NULL,
	sequence BIGINT NOT NULL, -- proposals accepted together share it
	accepted BIGINT NOT NULL,
	message  BYTEA  NOT NULL,
	PRIMARY KEY (room, position)
);

-- What requests were answered with, by their hash.
CREATE TABLE hub_answer (
	request BYTEA  NOT NULL PRIMARY KEY,
	answer  BYTEA  NOT NULL,
	made    BIGINT NOT NULL
);
CREATE INDEX hub_answer_made ON hub_answer (made);

-- Events that some provider has not been told, and which providers these are.
CREATE TABLE hub_event (
	room     TEXT   NOT NULL,
	sequence BIGINT NOT NULL,
	body     BYTEA  NOT NULL,
	welcome  BYTEA,
	PRIMARY KEY (room, sequence)
);

CREATE TABLE hub_outbox (
	room     TEXT   NOT NULL,
	provider TEXT   NOT NULL,
	sequence BIGINT NOT NULL,
	parts    BIGINT NOT NULL,
	PRIMARY KEY (room, provider, sequence),
	FOREIGN KEY (room, sequence) REFERENCES hub_event (room, sequence)
);
CREATE INDEX hub_outbox_event ON hub_outbox (room, sequence);

CREATE TABLE hub_secret (
	name  TEXT  NOT NULL PRIMARY KEY,
	value BYTEA NOT NULL -- sealed
);

-- follower: bodies of requests until they are opened, and the hashes of all that came lately.
CREATE TABLE follower_inbox (
	room   TEXT   NOT NULL,
	number BIGINT NOT NULL,
	body   BYTEA  NOT NULL,
	PRIMARY KEY (room, number)
);

CREATE TABLE follower_seen (
	hash BYTEA  NOT NULL PRIMARY KEY,
	made BIGINT NOT NULL
);
CREATE INDEX follower_seen_made ON follower_seen (made);

-- member: messages of ours until they have come back, changes that were asked for, and the commit that is to make them.
CREATE TABLE member_outgoing (
	room     TEXT   NOT NULL,
	number   BIGINT NOT NULL,
	sender   TEXT   NOT NULL,
	id       BYTEA  NOT NULL,
	content  BYTEA  NOT NULL, -- sealed
	message  BYTEA,           -- the MLSMessage; NULL: not protected yet
	hash     BYTEA,           -- of it
	after    BIGINT NOT NULL, -- epoch that has to come first
	PRIMARY KEY (room, number)
);
CREATE INDEX member_outgoing_hash ON member_outgoing (room, hash);

CREATE TABLE member_request (
	room         TEXT   NOT NULL,
	subject      TEXT   NOT NULL, -- the user; empty: the room's name and subject
	number       BIGINT NOT NULL,
	role         BIGINT NOT NULL,
	exact        BIGINT NOT NULL,
	name         TEXT   NOT NULL,
	about        TEXT   NOT NULL,
	key_packages BYTEA  NOT NULL,
	alone        BIGINT NOT NULL,
	PRIMARY KEY (room, subject)
);

CREATE TABLE member_commit (
	room     TEXT   NOT NULL PRIMARY KEY,
	request  BYTEA  NOT NULL,
	subjects TEXT   NOT NULL, -- each ended by a line break
	answered BIGINT NOT NULL
);

-- What edits and deletions are judged by.
CREATE TABLE member_message (
	room     TEXT   NOT NULL,
	id       BYTEA  NOT NULL,
	sender   TEXT   NOT NULL,
	topic    BYTEA  NOT NULL,
	reaction BIGINT NOT NULL,
	accepted BIGINT NOT NULL,
	PRIMARY KEY (room, id)
);
CREATE INDEX member_message_accepted ON member_message (accepted);

CREATE TABLE member_key_package (
	ref     BYTEA  NOT NULL PRIMARY KEY,
	secrets BYTEA  NOT NULL, -- sealed
	expires BIGINT NOT NULL
);
CREATE INDEX member_key_package_expires ON member_key_package (expires);

-- Rooms whose group cannot follow any more.
CREATE TABLE member_stale (
	room TEXT NOT NULL PRIMARY KEY
);
