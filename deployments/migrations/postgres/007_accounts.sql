-- +goose Up

ALTER TABLE oauth_users
    ADD COLUMN operator           boolean NOT NULL DEFAULT false,
    ADD COLUMN app_passwords_only boolean NOT NULL DEFAULT false; -- for the password grant

-- Of a session that was not used yet, or not since this was noted, nothing is known.
ALTER TABLE oauth_sessions
    ADD COLUMN seen_at timestamptz,
    ADD COLUMN agent   text NOT NULL DEFAULT '',
    ADD COLUMN address text NOT NULL DEFAULT '';

ALTER TABLE oauth_grants ADD COLUMN last_used_at timestamptz;

ALTER TABLE oauth_clients ADD COLUMN rejection text NOT NULL DEFAULT ''; -- why it was rejected

CREATE INDEX oauth_clients_pending ON oauth_clients (created_at, id) WHERE status = 'pending';

CREATE TABLE oauth_app_passwords (
    id           bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id    text        COLLATE "C" NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    name         text        NOT NULL,
    hash         bytea       NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz
);

CREATE UNIQUE INDEX oauth_app_passwords_name ON oauth_app_passwords (client_id, name);

CREATE INDEX oauth_changes_changed_at ON oauth_changes (changed_at);

-- When a unit was given another secret: who has connected with the one before is cut off.
ALTER TABLE units ADD COLUMN secret_at timestamptz;
CREATE INDEX units_secret_at ON units (secret_at) WHERE secret_at IS NOT NULL;
