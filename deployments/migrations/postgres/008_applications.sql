-- +goose Up

ALTER TABLE oauth_clients
    ADD COLUMN legacy  boolean NOT NULL DEFAULT false,
    ADD COLUMN logo    bytea, -- SHA-256 of the picture
    ADD COLUMN edition bigint  NOT NULL DEFAULT 0; -- how often it was edited

-- A change of an application that waits for an operator. It has what an operator
-- decides on.
CREATE TABLE oauth_client_edits (
    client_id     text        COLLATE "C" NOT NULL PRIMARY KEY REFERENCES oauth_clients (id),
    edition       bigint      NOT NULL,
    name          text        NOT NULL,
    redirect_uris text[]      NOT NULL,
    scope         text,
    public        boolean     NOT NULL,
    require_pkce  boolean     NOT NULL,
    require_scope boolean     NOT NULL,
    legacy        boolean     NOT NULL,
    logo          bytea,
    created_at    timestamptz NOT NULL
);

CREATE TABLE oauth_client_logos (
    client_id  text        COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    hash       bytea       NOT NULL,
    png        bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, hash)
);

-- A code of RFC 8628 that was not redeemed.
CREATE TABLE oauth_device_codes (
    hash       bytea       NOT NULL PRIMARY KEY, -- of the device_code
    user_code  bytea       NOT NULL UNIQUE,      -- hash of the user_code
    client_id  text        COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    pace       bigint      NOT NULL, -- microseconds between polls
    polled_at  timestamptz,
    user_id    bigint      REFERENCES oauth_users (id), -- who answered; NULL: nobody yet
    approved   boolean     NOT NULL DEFAULT false
);

CREATE INDEX oauth_device_codes_client_id ON oauth_device_codes (client_id, expires_at);
CREATE INDEX oauth_device_codes_expires_at ON oauth_device_codes (expires_at);
