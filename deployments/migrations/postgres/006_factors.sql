-- +goose Up

-- Authenticator apps. The secret is sealed with a key that is not in the database.
CREATE TABLE oauth_totp (
    user_id      bigint      NOT NULL PRIMARY KEY REFERENCES oauth_users (id),
    sealed       bytea       NOT NULL,
    last_step    bigint      NOT NULL, -- the latest time step whose code was used
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz -- NULL: never
);

-- WebAuthn credentials.
CREATE TABLE oauth_passkeys (
    id            bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id       bigint      NOT NULL REFERENCES oauth_users (id),
    credential_id bytea       NOT NULL UNIQUE,
    public_key    bytea       NOT NULL, -- COSE
    name          text        NOT NULL,
    sign_count    bigint      NOT NULL,
    flags         bigint      NOT NULL, -- of the authenticator data
    transports    text[]      NOT NULL,
    created_at    timestamptz NOT NULL,
    last_used_at  timestamptz -- NULL: never
);

CREATE INDEX oauth_passkeys_user_id ON oauth_passkeys (user_id, id);

-- Recovery codes that were not used yet.
CREATE TABLE oauth_recovery_codes (
    user_id bigint NOT NULL REFERENCES oauth_users (id),
    hash    bytea  NOT NULL,
    PRIMARY KEY (user_id, hash)
);

-- What holds once and was used, until it would have expired anyway.
CREATE TABLE oauth_spent (
    hash       bytea       NOT NULL PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE INDEX oauth_spent_expires_at ON oauth_spent (expires_at);
