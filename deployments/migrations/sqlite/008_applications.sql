-- +goose Up

ALTER TABLE oauth_clients ADD COLUMN legacy INTEGER NOT NULL DEFAULT 0 CHECK (legacy IN (0, 1));
ALTER TABLE oauth_clients ADD COLUMN logo BLOB; -- SHA-256 of the picture
ALTER TABLE oauth_clients ADD COLUMN edition INTEGER NOT NULL DEFAULT 0; -- how often it was edited

-- A change of an application that waits for an operator. It has what an operator
-- decides on.
CREATE TABLE oauth_client_edits (
    client_id     TEXT    NOT NULL PRIMARY KEY REFERENCES oauth_clients (id),
    edition       INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    redirect_uris TEXT    NOT NULL CHECK (json_valid(redirect_uris)),
    scope         TEXT,
    public        INTEGER NOT NULL CHECK (public IN (0, 1)),
    require_pkce  INTEGER NOT NULL CHECK (require_pkce IN (0, 1)),
    require_scope INTEGER NOT NULL CHECK (require_scope IN (0, 1)),
    legacy        INTEGER NOT NULL CHECK (legacy IN (0, 1)),
    logo          BLOB,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE oauth_client_logos (
    client_id  TEXT    NOT NULL REFERENCES oauth_clients (id),
    hash       BLOB    NOT NULL,
    png        BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (client_id, hash)
) STRICT;

-- A code of RFC 8628 that was not redeemed.
CREATE TABLE oauth_device_codes (
    hash       BLOB    NOT NULL PRIMARY KEY, -- of the device_code
    user_code  BLOB    NOT NULL UNIQUE,      -- hash of the user_code
    client_id  TEXT    NOT NULL REFERENCES oauth_clients (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    pace       INTEGER NOT NULL, -- microseconds between polls
    polled_at  INTEGER,
    user_id    INTEGER REFERENCES oauth_users (id), -- who answered; NULL: nobody yet
    approved   INTEGER NOT NULL DEFAULT 0 CHECK (approved IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_device_codes_client_id ON oauth_device_codes (client_id, expires_at);
CREATE INDEX oauth_device_codes_expires_at ON oauth_device_codes (expires_at);
