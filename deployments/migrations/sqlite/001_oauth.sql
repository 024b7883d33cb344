-- +goose Up

-- Times are microseconds since 1970 UTC. Secrets are stored as their SHA-256.

CREATE TABLE oauth_users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    email         TEXT    NOT NULL UNIQUE,
    name          TEXT    NOT NULL,
    password_hash TEXT    NOT NULL, -- argon2id, PHC form
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE oauth_clients (
    id          TEXT    NOT NULL PRIMARY KEY, -- client_id
    kind        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    owner_id    INTEGER NOT NULL REFERENCES oauth_users (id),
    secret_hash BLOB    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE oauth_grants (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id  TEXT    NOT NULL REFERENCES oauth_clients (id),
    user_id    INTEGER NOT NULL REFERENCES oauth_users (id),
    grant_type TEXT    NOT NULL, -- that began it
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, -- when its last token expires
    revoked_at INTEGER           -- if it is revoked, all its tokens are dead
) STRICT;

CREATE INDEX oauth_grants_expires_at ON oauth_grants (expires_at);

CREATE TABLE oauth_access_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    grant_id   INTEGER NOT NULL REFERENCES oauth_grants (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_access_tokens_grant_id ON oauth_access_tokens (grant_id);
CREATE INDEX oauth_access_tokens_expires_at ON oauth_access_tokens (expires_at);

-- A spent token keeps what a repeat of it is answered with: the nonce that made its
-- successor pair, the end of that pair's access token, and whether that pair's
-- refresh token has been spent in its turn.
CREATE TABLE oauth_refresh_tokens (
    hash                 BLOB    NOT NULL PRIMARY KEY,
    grant_id             INTEGER NOT NULL REFERENCES oauth_grants (id),
    expires_at           INTEGER NOT NULL,
    predecessor          BLOB,    -- hash of the token that this one succeeds
    used_at              INTEGER, -- when it was spent
    nonce                BLOB,
    successor_expires_at INTEGER,
    successor_used       INTEGER NOT NULL DEFAULT 0 CHECK (successor_used IN (0, 1)),
    CHECK ((used_at IS NULL) = (nonce IS NULL) AND (used_at IS NULL) = (successor_expires_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_refresh_tokens_grant_id ON oauth_refresh_tokens (grant_id);
CREATE INDEX oauth_refresh_tokens_expires_at ON oauth_refresh_tokens (expires_at);

CREATE TABLE oauth_sign_in_failures (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    key       BLOB    NOT NULL, -- of the account and the address
    failed_at INTEGER NOT NULL
) STRICT;

CREATE INDEX oauth_sign_in_failures_key ON oauth_sign_in_failures (key, failed_at);
CREATE INDEX oauth_sign_in_failures_failed_at ON oauth_sign_in_failures (failed_at);
