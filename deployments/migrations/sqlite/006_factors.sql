-- +goose Up

-- Authenticator apps. The secret is sealed with a key that is not in the database.
CREATE TABLE oauth_totp (
    user_id      INTEGER PRIMARY KEY REFERENCES oauth_users (id),
    sealed       BLOB    NOT NULL,
    last_step    INTEGER NOT NULL, -- the latest time step whose code was used
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER -- NULL: never
) STRICT;

-- WebAuthn credentials.
CREATE TABLE oauth_passkeys (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       INTEGER NOT NULL REFERENCES oauth_users (id),
    credential_id BLOB    NOT NULL UNIQUE,
    public_key    BLOB    NOT NULL, -- COSE
    name          TEXT    NOT NULL,
    sign_count    INTEGER NOT NULL,
    flags         INTEGER NOT NULL, -- of the authenticator data
    transports    TEXT    NOT NULL, -- JSON array
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER -- NULL: never
) STRICT;

CREATE INDEX oauth_passkeys_user_id ON oauth_passkeys (user_id, id);

-- Recovery codes that were not used yet.
CREATE TABLE oauth_recovery_codes (
    user_id INTEGER NOT NULL REFERENCES oauth_users (id),
    hash    BLOB    NOT NULL,
    PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

-- What holds once and was used, until it would have expired anyway.
CREATE TABLE oauth_spent (
    hash       BLOB    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_spent_expires_at ON oauth_spent (expires_at);
