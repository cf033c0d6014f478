-- Persons, bindings, and what goes from conversations to rooms and back. Times are Unix milliseconds. Truth values are 0 or 1.

-- identity: one human as a network knows them, or as configuration joins what several know.
CREATE TABLE person (
	address  TEXT   NOT NULL PRIMARY KEY, -- mimi URI
	name     TEXT   NOT NULL,
	folded   TEXT   NOT NULL,             -- the name, for comparing
	network  TEXT   NOT NULL,             -- where the name comes from
	account  TEXT   NOT NULL,             -- whose handle the avatar is
	avatar   TEXT   NOT NULL,
	verified BIGINT NOT NULL,
	bot      BIGINT NOT NULL,
	consent  BIGINT NOT NULL,
	made     BIGINT NOT NULL,
	seen     BIGINT NOT NULL
);
CREATE INDEX person_folded ON person (folded);

CREATE TABLE person_id (
	network TEXT NOT NULL,
	id      TEXT NOT NULL,
	address TEXT NOT NULL REFERENCES person (address),
	PRIMARY KEY (network, id)
);
CREATE INDEX person_id_address ON person_id (address);

-- Addresses that persons had before they were found to be one: edits and replies still find them.
CREATE TABLE person_alias (
	alias   TEXT NOT NULL PRIMARY KEY,
	address TEXT NOT NULL REFERENCES person (address)
);
CREATE INDEX person_alias_address ON person_alias (address);

-- router: which conversation belongs to which room.
CREATE TABLE binding (
	account      TEXT   NOT NULL,
	name         TEXT   NOT NULL, -- as people call the conversation
	network      TEXT   NOT NULL,
	conversation TEXT   NOT NULL, -- empty until it was opened once
	room         TEXT   NOT NULL,
	direction    BIGINT NOT NULL,
	managed      TEXT   NOT NULL, -- place in the configuration file; empty: made by command
	PRIMARY KEY (account, name)
);
CREATE INDEX binding_conversation ON binding (network, conversation);
CREATE INDEX binding_room ON binding (room);

-- A binding that still needs the room's say.
CREATE TABLE binding_request (
	code         TEXT   NOT NULL PRIMARY KEY,
	account      TEXT   NOT NULL,
	conversation TEXT   NOT NULL,
	room         TEXT   NOT NULL,
	direction    BIGINT NOT NULL,
	made         BIGINT NOT NULL
);

-- What is known of native conversations, bound or not.
CREATE TABLE conversation (
	network      TEXT   NOT NULL,
	conversation TEXT   NOT NULL,
	title        TEXT   NOT NULL,
	topic        TEXT   NOT NULL,
	direct       BIGINT NOT NULL,
	asked        BIGINT NOT NULL, -- when the admins were last asked what to do about it; 0: never
	declined     BIGINT NOT NULL, -- when a stranger was last told no; 0: never
	PRIMARY KEY (network, conversation)
);

-- Who takes part in a native conversation.
CREATE TABLE attendance (
	network      TEXT   NOT NULL,
	conversation TEXT   NOT NULL,
	address      TEXT   NOT NULL,
	removed      BIGINT NOT NULL, -- removed from the room, yet still there
	PRIMARY KEY (network, conversation, address)
);
CREATE INDEX attendance_address ON attendance (address);

-- Every version of every message: ids, no bodies.
CREATE TABLE message (
	id           BYTEA  NOT NULL PRIMARY KEY,
	original     BYTEA  NOT NULL, -- the first version
	origin       BYTEA,           -- the message that it first was, where another gateway passed it on
	room         TEXT   NOT NULL,
	sender       TEXT   NOT NULL,
	kind         BIGINT NOT NULL,
	target       BYTEA,           -- of a reaction: what it is to
	network      TEXT   NOT NULL, -- the conversation it was said in; empty: elsewhere
	conversation TEXT   NOT NULL,
	made         BIGINT NOT NULL,
	accepted     BIGINT NOT NULL  -- by the hub; 0: not yet
);
CREATE INDEX message_original ON message (original);
CREATE INDEX message_origin ON message (origin);

-- Bodies, until they are delivered.
CREATE TABLE body (
	id    BYTEA NOT NULL PRIMARY KEY,
	value BYTEA NOT NULL -- sealed
);

-- Native events that were taken or made, and the message that they are.
CREATE TABLE native_event (
	network      TEXT   NOT NULL,
	conversation TEXT   NOT NULL,
	id           TEXT   NOT NULL,
	message      BYTEA,           -- NULL: it became none
	part         BIGINT NOT NULL,
	piece        BIGINT NOT NULL,
	pending      BIGINT NOT NULL, -- its content is yet to come
	made         BIGINT NOT NULL,
	PRIMARY KEY (network, conversation, id)
);
CREATE INDEX native_event_message ON native_event (message);

CREATE TABLE reaction (
	target BYTEA  NOT NULL,
	sender TEXT   NOT NULL,
	emoji  TEXT   NOT NULL,
	id     BYTEA  NOT NULL, -- the message that is the reaction
	made   BIGINT NOT NULL,
	PRIMARY KEY (target, sender, emoji)
);
CREATE INDEX reaction_id ON reaction (id);

-- What each conversation is yet to be shown, and what became of it.
CREATE TABLE delivery (
	network      TEXT   NOT NULL,
	conversation TEXT   NOT NULL,
	seq          BIGINT NOT NULL, -- its order in the conversation
	marker       TEXT   NOT NULL, -- adapter.Marker.Key
	account      TEXT   NOT NULL,
	room         TEXT   NOT NULL, -- empty: a word of the gateway itself
	author       TEXT   NOT NULL, -- mimi URI; empty: the gateway itself
	message      BYTEA  NOT NULL, -- zeros: it is a task
	task         BYTEA,           -- sealed; NULL: the message is to be shown
	state        BIGINT NOT NULL,
	attempt      BIGINT NOT NULL,
	due          BIGINT NOT NULL, -- not to be tried before
	done         BYTEA,           -- native ids of the parts that arrived
	reason       TEXT   NOT NULL,
	made         BIGINT NOT NULL,
	PRIMARY KEY (network, conversation, seq)
);
CREATE UNIQUE INDEX delivery_marker ON delivery (marker);
CREATE INDEX delivery_state ON delivery (state, network, conversation, seq);
CREATE INDEX delivery_message ON delivery (message);
