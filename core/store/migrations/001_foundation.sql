-- What every part stands on. Sealed columns hold what seal.go makes.

-- Facts about the store itself.
CREATE TABLE setting (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);

-- The keys that columns are sealed with, themselves sealed under a master key that is not in the database.
CREATE TABLE data_key (
	id     BIGINT NOT NULL PRIMARY KEY,
	made   BIGINT NOT NULL, -- Unix milliseconds
	master TEXT   NOT NULL, -- id of the master key
	sealed BYTEA  NOT NULL
);

-- Who may write for a room. The fencing number grows with each change of the owner.
CREATE TABLE room_owner (
	room  TEXT   NOT NULL PRIMARY KEY, -- mimi URI
	owner TEXT   NOT NULL,             -- one opening of the store by one instance
	fence BIGINT NOT NULL
);

-- adapter.State: small things of one account.
CREATE TABLE account_state (
	account TEXT  NOT NULL,
	key     BYTEA NOT NULL,
	value   BYTEA NOT NULL, -- sealed
	PRIMARY KEY (account, key)
);

-- The state of MLS groups, in the records the engine cuts it into.
CREATE TABLE mls_record (
	state BYTEA NOT NULL, -- whose state of which group
	key   BYTEA NOT NULL,
	value BYTEA NOT NULL, -- sealed
	PRIMARY KEY (state, key)
);
