-- +goose Up

-- Times are microseconds since 1970 UTC.

-- Devices, groups and scenarios draw their numbers here, so that no two of them
-- ever have the same one.
CREATE TABLE thing_ids (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO thing_ids (only, last) VALUES (1, 0);

CREATE TABLE sites (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    label      TEXT    NOT NULL,
    timezone   TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE site_members (
    user_id INTEGER NOT NULL REFERENCES oauth_users (id),
    site_id INTEGER NOT NULL REFERENCES sites (id),
    role    TEXT    NOT NULL,
    PRIMARY KEY (user_id, site_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE units (
    id              TEXT    NOT NULL PRIMARY KEY,
    site_id         INTEGER NOT NULL UNIQUE REFERENCES sites (id),
    secret_hash     BLOB    NOT NULL CHECK (length(secret_hash) = 32),
    created_at      INTEGER NOT NULL,
    online          INTEGER NOT NULL DEFAULT 0 CHECK (online IN (0, 1)),
    session         TEXT    NOT NULL DEFAULT '',
    firmware        TEXT    NOT NULL DEFAULT '',
    catalogue       INTEGER NOT NULL DEFAULT 0,
    clock_offset_ms INTEGER NOT NULL DEFAULT 0,
    link_at         INTEGER
) STRICT;
CREATE INDEX units_online ON units (id) WHERE online = 1;

CREATE TABLE devices (
    id          INTEGER NOT NULL PRIMARY KEY,
    site_id     INTEGER NOT NULL REFERENCES sites (id),
    unit_id     TEXT    NOT NULL REFERENCES units (id),
    kind        TEXT    NOT NULL,
    label       TEXT    NOT NULL,
    model_id    INTEGER NOT NULL,
    model_label TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_site ON devices (site_id, kind, id);

-- device_id 0 stands for the site's own alarm, which is no row of devices.
CREATE TABLE commands (
    id          TEXT    NOT NULL PRIMARY KEY,
    site_id     INTEGER NOT NULL REFERENCES sites (id),
    unit_id     TEXT    REFERENCES units (id),
    device_id   INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    operation   TEXT    NOT NULL,
    user_id     INTEGER NOT NULL REFERENCES oauth_users (id),
    client_id   TEXT    NOT NULL,
    key_hash    BLOB    CHECK (length(key_hash) = 32),
    accepted_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('pending', 'done', 'refused', 'offline', 'unknown')),
    label       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE UNIQUE INDEX commands_key ON commands (key_hash, client_id, user_id) WHERE key_hash IS NOT NULL;
CREATE INDEX commands_device ON commands (site_id, device_id, accepted_at, id);
CREATE INDEX commands_accepted ON commands (accepted_at);
CREATE INDEX commands_pending ON commands (accepted_at) WHERE outcome = 'pending';

CREATE TABLE states (
    site_id     INTEGER NOT NULL REFERENCES sites (id),
    device_id   INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    reported_at INTEGER NOT NULL,
    readings    TEXT    NOT NULL,
    PRIMARY KEY (site_id, device_id)
) STRICT;

-- unit_id and event_id are there for what a unit reported, and tell a repeat.
CREATE TABLE history (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    site_id    INTEGER NOT NULL REFERENCES sites (id),
    unit_id    TEXT    REFERENCES units (id),
    event_id   TEXT,
    type       TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX history_site ON history (site_id, created_at, id);
CREATE UNIQUE INDEX history_event ON history (unit_id, event_id) WHERE event_id IS NOT NULL;
