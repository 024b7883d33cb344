-- +goose Up

-- Secrets are stored as their SHA-256. Keys that people or programs choose sort by
-- their bytes (collation "C").

CREATE TABLE oauth_users (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         text        COLLATE "C" NOT NULL UNIQUE,
    name          text        NOT NULL,
    password_hash text        NOT NULL, -- argon2id, PHC form
    created_at    timestamptz NOT NULL
);

CREATE TABLE oauth_clients (
    id          text        COLLATE "C" NOT NULL PRIMARY KEY, -- client_id
    kind        text        NOT NULL,
    name        text        NOT NULL,
    owner_id    bigint      NOT NULL REFERENCES oauth_users (id),
    secret_hash bytea       NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE TABLE oauth_grants (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  text        COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    user_id    bigint      NOT NULL REFERENCES oauth_users (id),
    grant_type text        NOT NULL, -- that began it
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL, -- when its last token expires
    revoked_at timestamptz           -- if it is revoked, all its tokens are dead
);

CREATE INDEX oauth_grants_expires_at ON oauth_grants (expires_at);

CREATE TABLE oauth_access_tokens (
    hash       bytea       NOT NULL PRIMARY KEY,
    grant_id   bigint      NOT NULL REFERENCES oauth_grants (id),
    expires_at timestamptz NOT NULL
);

CREATE INDEX oauth_access_tokens_grant_id ON oauth_access_tokens (grant_id);
CREATE INDEX oauth_access_tokens_expires_at ON oauth_access_tokens (expires_at);

-- A spent token keeps what a repeat of it is answered with: the nonce that made its
-- successor pair, the end of that pair's access token, and whether that pair's
-- refresh token has been spent in its turn.
CREATE TABLE oauth_refresh_tokens (
    hash                 bytea       NOT NULL PRIMARY KEY,
    grant_id             bigint      NOT NULL REFERENCES oauth_grants (id),
    expires_at           timestamptz NOT NULL,
    predecessor          bytea,       -- hash of the token that this one succeeds
    used_at              timestamptz, -- when it was spent
    nonce                bytea,
    successor_expires_at timestamptz,
    successor_used       boolean     NOT NULL DEFAULT false,
    CHECK ((used_at IS NULL) = (nonce IS NULL) AND (used_at IS NULL) = (successor_expires_at IS NULL))
);

CREATE INDEX oauth_refresh_tokens_grant_id ON oauth_refresh_tokens (grant_id);
CREATE INDEX oauth_refresh_tokens_expires_at ON oauth_refresh_tokens (expires_at);

CREATE TABLE oauth_sign_in_failures (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key       bytea       NOT NULL, -- of the account and the address
    failed_at timestamptz NOT NULL
);

CREATE INDEX oauth_sign_in_failures_key ON oauth_sign_in_failures (key, failed_at);
CREATE INDEX oauth_sign_in_failures_failed_at ON oauth_sign_in_failures (failed_at);
