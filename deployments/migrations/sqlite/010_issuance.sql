-- +goose Up

-- A minute is the Unix time in seconds divided by 60, an hour that divided by 3,600.

-- Of a disabled person nothing is accepted until the account is enabled again.
ALTER TABLE oauth_users ADD COLUMN disabled_at INTEGER;

-- Wasteful tokens that it may be issued in an hour and a day, 0 for no limit; NULL,
-- both: those of its kind.
ALTER TABLE oauth_clients ADD COLUMN limit_hour INTEGER;
ALTER TABLE oauth_clients ADD COLUMN limit_day INTEGER;
-- The worst verdict of this episode: 1 notice, 2 warning, 3 over the line.
ALTER TABLE oauth_clients ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
-- Of the last wasteful token, and of the last reactivation.
ALTER TABLE oauth_clients ADD COLUMN wasted_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE oauth_clients ADD COLUMN reactivated_minute INTEGER NOT NULL DEFAULT 0;
-- Of oauth_rulings, by which it is off; and whether live tokens run out while it is.
ALTER TABLE oauth_clients ADD COLUMN off_ruling INTEGER;
ALTER TABLE oauth_clients ADD COLUMN draining INTEGER NOT NULL DEFAULT 0 CHECK (draining IN (0, 1));

-- What a deleted application wasted counts on for those that its owner has left.
CREATE INDEX oauth_clients_deleted ON oauth_clients (owner_id, wasted_minute) WHERE status = 'deleted';

-- When the last access token of the grant expires that was not revoked: by it is found
-- whether a person and an application hold one. NULL if there is none.
ALTER TABLE oauth_grants ADD COLUMN access_expires_at INTEGER;

UPDATE oauth_grants
SET access_expires_at = (SELECT max(t.expires_at) FROM oauth_access_tokens t WHERE t.grant_id = oauth_grants.id);

DROP INDEX oauth_grants_user_id;
CREATE INDEX oauth_grants_user_id ON oauth_grants (user_id, client_id, access_expires_at);

-- Tokens by the minute in which they were issued. A row is changed only in its minute,
-- and when its application is reactivated.
CREATE TABLE oauth_issuance_minutes (
    minute     INTEGER NOT NULL,
    lane       INTEGER NOT NULL, -- always 0: there is one writer
    tokens     INTEGER NOT NULL,
    wasteful   INTEGER NOT NULL, -- of these
    forgiven   INTEGER NOT NULL, -- of the wasteful ones, by a reactivation: they do not count any more
    client_id  TEXT    NOT NULL,
    grant_type TEXT    NOT NULL,
    outcome    TEXT    NOT NULL, -- issued; shadow: issued although over the line; switched_off: not issued
    PRIMARY KEY (client_id, minute, grant_type, outcome, lane)
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_issuance_minutes_minute ON oauth_issuance_minutes (minute);

-- What became of minutes that are old.
CREATE TABLE oauth_issuance_hours (
    hour       INTEGER NOT NULL,
    tokens     INTEGER NOT NULL,
    wasteful   INTEGER NOT NULL,
    client_id  TEXT    NOT NULL,
    grant_type TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    PRIMARY KEY (client_id, hour, grant_type, outcome)
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_issuance_hours_hour ON oauth_issuance_hours (hour);

-- Every verdict other than fine, with its evidence.
CREATE TABLE oauth_rulings (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id  TEXT    NOT NULL REFERENCES oauth_clients (id),
    ruled_at   INTEGER NOT NULL,
    verdict    TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    key        TEXT, -- of whoever asked, by which a repeat is known
    reason     TEXT    NOT NULL, -- in the words of whoever asked
    rule       TEXT    NOT NULL, -- of the policy: hour or day; else empty
    used       INTEGER NOT NULL,
    allowed    INTEGER NOT NULL,
    first_at   INTEGER, -- minute of the first of those that are used
    grant_type TEXT    NOT NULL,
    lever      TEXT    NOT NULL,
    effective  INTEGER NOT NULL CHECK (effective IN (0, 1)) -- it changed something
) STRICT;

CREATE INDEX oauth_rulings_client_id ON oauth_rulings (client_id, id);
CREATE UNIQUE INDEX oauth_rulings_key ON oauth_rulings (client_id, key) WHERE key IS NOT NULL;
CREATE INDEX oauth_rulings_ruled_at ON oauth_rulings (ruled_at);
