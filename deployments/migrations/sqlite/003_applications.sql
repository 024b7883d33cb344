-- +goose Up

-- A scope is its names with a space between them; NULL is unscoped, the empty text is
-- good for nothing. Redirect URIs and sites are JSON arrays; NULL is all sites.

-- SQLite cannot take NOT NULL from a column, nor add one that is NOT NULL without a
-- default. So four tables are made anew. The old ones step aside, with the references
-- among them, and go once their rows are copied, children first: by that it does not
-- matter whether the connection enforces foreign keys.

ALTER TABLE oauth_clients RENAME TO old_clients;
ALTER TABLE oauth_grants RENAME TO old_grants;
ALTER TABLE oauth_access_tokens RENAME TO old_access_tokens;
ALTER TABLE oauth_refresh_tokens RENAME TO old_refresh_tokens;

CREATE TABLE oauth_clients (
    id            TEXT    NOT NULL PRIMARY KEY, -- client_id
    kind          TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    owner_id      INTEGER NOT NULL REFERENCES oauth_users (id),
    created_at    INTEGER NOT NULL,
    description   TEXT    NOT NULL,
    home_page     TEXT    NOT NULL,
    redirect_uris TEXT    NOT NULL CHECK (json_valid(redirect_uris)),
    scope         TEXT, -- that it may ask for
    public        INTEGER NOT NULL CHECK (public IN (0, 1)),
    require_pkce  INTEGER NOT NULL CHECK (require_pkce IN (0, 1)),
    require_scope INTEGER NOT NULL CHECK (require_scope IN (0, 1))
) STRICT;

INSERT INTO oauth_clients (id, kind, status, name, owner_id, created_at, description, home_page, redirect_uris, public, require_pkce, require_scope)
SELECT id, kind, 'active', name, owner_id, created_at, '', '', '[]', 0, 0, 0 FROM old_clients;

CREATE TABLE oauth_client_secrets (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id    TEXT    NOT NULL REFERENCES oauth_clients (id),
    hash         BLOB    NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;

CREATE INDEX oauth_client_secrets_client_id ON oauth_client_secrets (client_id);

INSERT INTO oauth_client_secrets (client_id, hash, created_at)
SELECT id, secret_hash, created_at FROM old_clients ORDER BY created_at, id;

CREATE TABLE oauth_grants (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id  TEXT    NOT NULL REFERENCES oauth_clients (id),
    user_id    INTEGER REFERENCES oauth_users (id), -- NULL: the client's own
    grant_type TEXT    NOT NULL, -- that began it
    scope      TEXT,
    sites      TEXT    CHECK (json_valid(sites)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, -- when its last token expires
    revoked_at INTEGER           -- if it is revoked, all its tokens are dead
) STRICT;

INSERT INTO oauth_grants (id, client_id, user_id, grant_type, created_at, expires_at, revoked_at)
SELECT id, client_id, user_id, grant_type, created_at, expires_at, revoked_at FROM old_grants;

-- The number of a grant that is gone is not given again.
DELETE FROM sqlite_sequence WHERE name = 'oauth_grants';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'oauth_grants', seq FROM sqlite_sequence WHERE name = 'old_grants';

-- A pair was issued when the token before it was spent, the first when the grant began.

CREATE TABLE oauth_access_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    grant_id   INTEGER NOT NULL REFERENCES oauth_grants (id),
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    scope      TEXT -- NULL: the grant's
) STRICT, WITHOUT ROWID;

INSERT INTO oauth_access_tokens (hash, grant_id, issued_at, expires_at)
SELECT t.hash, t.grant_id, coalesce((
        SELECT max(p.used_at) FROM old_refresh_tokens p
        WHERE p.grant_id = t.grant_id AND p.successor_expires_at = t.expires_at
    ), g.created_at), t.expires_at
FROM old_access_tokens t
JOIN old_grants g ON g.id = t.grant_id;

-- A spent token keeps what a repeat of it is answered with: the nonce that made its
-- successor pair, the end and the scope of that pair's access token, and whether that
-- pair's refresh token has been spent in its turn.
CREATE TABLE oauth_refresh_tokens (
    hash                 BLOB    NOT NULL PRIMARY KEY,
    grant_id             INTEGER NOT NULL REFERENCES oauth_grants (id),
    issued_at            INTEGER NOT NULL,
    expires_at           INTEGER NOT NULL,
    predecessor          BLOB,    -- hash of the token that this one succeeds
    used_at              INTEGER, -- when it was spent
    nonce                BLOB,
    successor_expires_at INTEGER,
    successor_scope      TEXT,    -- NULL: the grant's
    successor_used       INTEGER NOT NULL DEFAULT 0 CHECK (successor_used IN (0, 1)),
    CHECK ((used_at IS NULL) = (nonce IS NULL) AND (used_at IS NULL) = (successor_expires_at IS NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO oauth_refresh_tokens (hash, grant_id, issued_at, expires_at, predecessor, used_at, nonce, successor_expires_at, successor_used)
SELECT t.hash, t.grant_id, coalesce((SELECT p.used_at FROM old_refresh_tokens p WHERE p.hash = t.predecessor), g.created_at),
    t.expires_at, t.predecessor, t.used_at, t.nonce, t.successor_expires_at, t.successor_used
FROM old_refresh_tokens t
JOIN old_grants g ON g.id = t.grant_id;

DROP TABLE old_refresh_tokens;
DROP TABLE old_access_tokens;
DROP TABLE old_grants;
DROP TABLE old_clients;

CREATE INDEX oauth_grants_expires_at ON oauth_grants (expires_at);
CREATE INDEX oauth_access_tokens_grant_id ON oauth_access_tokens (grant_id);
CREATE INDEX oauth_access_tokens_expires_at ON oauth_access_tokens (expires_at);
CREATE INDEX oauth_refresh_tokens_grant_id ON oauth_refresh_tokens (grant_id);
CREATE INDEX oauth_refresh_tokens_expires_at ON oauth_refresh_tokens (expires_at);

CREATE TABLE oauth_codes (
    hash         BLOB    NOT NULL PRIMARY KEY,
    ticket       BLOB    NOT NULL UNIQUE, -- of the page on which the person consented
    client_id    TEXT    NOT NULL REFERENCES oauth_clients (id),
    user_id      INTEGER NOT NULL REFERENCES oauth_users (id),
    redirect_uri TEXT    NOT NULL,
    challenge    TEXT    NOT NULL, -- empty without PKCE
    scope        TEXT,
    sites        TEXT    CHECK (json_valid(sites)),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    grant_id     INTEGER REFERENCES oauth_grants (id) -- that it gave, once it is spent
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_codes_grant_id ON oauth_codes (grant_id);
CREATE INDEX oauth_codes_expires_at ON oauth_codes (expires_at);

CREATE TABLE oauth_sessions (
    hash       BLOB    NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES oauth_users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_sessions_user_id ON oauth_sessions (user_id);
CREATE INDEX oauth_sessions_expires_at ON oauth_sessions (expires_at);
