-- +goose Up

-- What became of what applications may do for people, until it is told in the histories
-- of their homes. A row is written in the transaction of what it tells of.
CREATE TABLE oauth_connection_events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id   TEXT    NOT NULL REFERENCES oauth_clients (id),
    user_id     INTEGER NOT NULL REFERENCES oauth_users (id),
    kind        TEXT    NOT NULL, -- connected or disconnected
    cause       TEXT    NOT NULL,
    scope       TEXT,
    sites       TEXT    CHECK (json_valid(sites)),
    happened_at INTEGER NOT NULL,
    next_at     INTEGER NOT NULL -- when it is tried next
) STRICT;

CREATE INDEX oauth_connection_events_next_at ON oauth_connection_events (next_at, id);

-- The people for whom an application may do something.
CREATE INDEX oauth_grants_client_id ON oauth_grants (client_id, user_id);

-- event_id without unit_id is there for what is told of applications, and tells a repeat.
CREATE UNIQUE INDEX history_told ON history (site_id, event_id) WHERE event_id IS NOT NULL AND unit_id IS NULL;
