-- +goose Up

-- Devices, groups and scenarios draw their numbers here, so that no two of them
-- ever have the same one.
CREATE SEQUENCE thing_ids;

CREATE TABLE sites (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label      text        NOT NULL,
    timezone   text        NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE site_members (
    user_id bigint NOT NULL REFERENCES oauth_users (id),
    site_id bigint NOT NULL REFERENCES sites (id),
    role    text   NOT NULL,
    PRIMARY KEY (user_id, site_id)
);

CREATE TABLE units (
    id              text        COLLATE "C" PRIMARY KEY,
    site_id         bigint      NOT NULL UNIQUE REFERENCES sites (id),
    secret_hash     bytea       NOT NULL CHECK (octet_length(secret_hash) = 32),
    created_at      timestamptz NOT NULL,
    online          boolean     NOT NULL DEFAULT false,
    session         text        NOT NULL DEFAULT '',
    firmware        text        NOT NULL DEFAULT '',
    catalogue       bigint      NOT NULL DEFAULT 0,
    clock_offset_ms bigint      NOT NULL DEFAULT 0,
    link_at         timestamptz
);
CREATE INDEX units_online ON units (id) WHERE online;

CREATE TABLE devices (
    id          bigint      PRIMARY KEY,
    site_id     bigint      NOT NULL REFERENCES sites (id),
    unit_id     text        COLLATE "C" NOT NULL REFERENCES units (id),
    kind        text        NOT NULL,
    label       text        NOT NULL,
    model_id    bigint      NOT NULL,
    model_label text        NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX devices_site ON devices (site_id, kind, id);

-- device_id 0 stands for the site's own alarm, which is no row of devices.
CREATE TABLE commands (
    id          text        COLLATE "C" PRIMARY KEY,
    site_id     bigint      NOT NULL REFERENCES sites (id),
    unit_id     text        COLLATE "C" REFERENCES units (id),
    device_id   bigint      NOT NULL,
    kind        text        NOT NULL,
    operation   text        NOT NULL,
    user_id     bigint      NOT NULL REFERENCES oauth_users (id),
    client_id   text        COLLATE "C" NOT NULL,
    key_hash    bytea       CHECK (octet_length(key_hash) = 32),
    accepted_at timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('pending', 'done', 'refused', 'offline', 'unknown')),
    label       text        NOT NULL,
    reason      text        NOT NULL,
    finished_at timestamptz
);
CREATE UNIQUE INDEX commands_key ON commands (key_hash, client_id, user_id) WHERE key_hash IS NOT NULL;
CREATE INDEX commands_device ON commands (site_id, device_id, accepted_at, id);
CREATE INDEX commands_accepted ON commands (accepted_at);
CREATE INDEX commands_pending ON commands (accepted_at) WHERE outcome = 'pending';

CREATE TABLE states (
    site_id     bigint      NOT NULL REFERENCES sites (id),
    device_id   bigint      NOT NULL,
    sequence    bigint      NOT NULL,
    reported_at timestamptz NOT NULL,
    readings    text        NOT NULL,
    PRIMARY KEY (site_id, device_id)
);

-- unit_id and event_id are there for what a unit reported, and tell a repeat.
CREATE TABLE history (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id    bigint      NOT NULL REFERENCES sites (id),
    unit_id    text        COLLATE "C" REFERENCES units (id),
    event_id   text        COLLATE "C",
    type       text        NOT NULL,
    label      text        NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX history_site ON history (site_id, created_at, id);
CREATE UNIQUE INDEX history_event ON history (unit_id, event_id) WHERE event_id IS NOT NULL;
