-- +goose Up

ALTER TABLE oauth_users ADD COLUMN operator           INTEGER NOT NULL DEFAULT 0 CHECK (operator IN (0, 1));
ALTER TABLE oauth_users ADD COLUMN app_passwords_only INTEGER NOT NULL DEFAULT 0 CHECK (app_passwords_only IN (0, 1)); -- for the password grant

-- Of a session that was not used yet, or not since this was noted, nothing is known.
ALTER TABLE oauth_sessions ADD COLUMN seen_at INTEGER;
ALTER TABLE oauth_sessions ADD COLUMN agent   TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';

ALTER TABLE oauth_grants ADD COLUMN last_used_at INTEGER;

ALTER TABLE oauth_clients ADD COLUMN rejection TEXT NOT NULL DEFAULT ''; -- why it was rejected

CREATE INDEX oauth_clients_pending ON oauth_clients (created_at, id) WHERE status = 'pending';

CREATE TABLE oauth_app_passwords (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id    TEXT    NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    hash         BLOB    NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;

CREATE UNIQUE INDEX oauth_app_passwords_name ON oauth_app_passwords (client_id, name);

CREATE INDEX oauth_changes_changed_at ON oauth_changes (changed_at);

-- When a unit was given another secret: who has connected with the one before is cut off.
ALTER TABLE units ADD COLUMN secret_at INTEGER;
CREATE INDEX units_secret_at ON units (secret_at) WHERE secret_at IS NOT NULL;
