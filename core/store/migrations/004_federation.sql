-- What federation needs: where rooms stand among each other, reports of abuse, who may bring whom into rooms.

-- hub
CREATE TABLE hub_place (
	room       TEXT NOT NULL PRIMARY KEY,
	parent     TEXT NOT NULL, -- the room that it depends on; empty: none
	membership BYTEA          -- of a room of fixed membership: the digest of its participants
);
CREATE INDEX hub_place_parent ON hub_place (parent);
CREATE INDEX hub_place_membership ON hub_place (membership);

-- Hosts at which the files of a room are kept.
CREATE TABLE hub_asset_host (
	room TEXT NOT NULL,
	host TEXT NOT NULL,
	PRIMARY KEY (room, host)
);
CREATE INDEX hub_asset_host_host ON hub_asset_host (host);

-- Join links, and who has shown one and not come yet.
CREATE TABLE hub_link (
	room  TEXT   NOT NULL,
	link  TEXT   NOT NULL,
	made  BIGINT NOT NULL,
	guest TEXT   NOT NULL, -- who came by it last; empty: nobody
	PRIMARY KEY (room, link)
);

CREATE TABLE hub_guest (
	room    TEXT NOT NULL,
	address TEXT NOT NULL,
	link    TEXT NOT NULL,
	PRIMARY KEY (room, address)
);

CREATE TABLE hub_report (
	number   BIGINT NOT NULL PRIMARY KEY,
	room     TEXT   NOT NULL,
	provider TEXT   NOT NULL, -- that reported
	reporter TEXT   NOT NULL, -- may be empty
	accused  TEXT   NOT NULL,
	reason   BIGINT NOT NULL,
	made     BIGINT NOT NULL,
	body     BYTEA  NOT NULL  -- sealed: note and messages
);

-- identity: who asked to bring whom into a room (empty: any), and what they were told.
CREATE TABLE consent (
	requester TEXT   NOT NULL,
	target    TEXT   NOT NULL,
	room      TEXT   NOT NULL,
	state     BIGINT NOT NULL, -- 1 asked, 2 granted, 3 revoked
	made      BIGINT NOT NULL,
	PRIMARY KEY (requester, target, room)
);
CREATE INDEX consent_target ON consent (target, state);

-- follower: what our people say about consent, until their providers have it.
CREATE TABLE consent_outbox (
	provider TEXT   NOT NULL,
	number   BIGINT NOT NULL,
	entry    BYTEA  NOT NULL,
	PRIMARY KEY (provider, number)
);
