-- +goose Up

-- A scope is its names with a space between them; NULL is unscoped, the empty text is
-- good for nothing. Sites are their numbers; NULL is all of them.

ALTER TABLE oauth_clients
    ADD COLUMN status        text    NOT NULL DEFAULT 'active',
    ADD COLUMN description   text    NOT NULL DEFAULT '',
    ADD COLUMN home_page     text    NOT NULL DEFAULT '',
    ADD COLUMN redirect_uris text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN scope         text, -- that it may ask for
    ADD COLUMN public        boolean NOT NULL DEFAULT false,
    ADD COLUMN require_pkce  boolean NOT NULL DEFAULT false,
    ADD COLUMN require_scope boolean NOT NULL DEFAULT false;

-- The defaults were for the clients that there are.
ALTER TABLE oauth_clients
    ALTER COLUMN status        DROP DEFAULT,
    ALTER COLUMN description   DROP DEFAULT,
    ALTER COLUMN home_page     DROP DEFAULT,
    ALTER COLUMN redirect_uris DROP DEFAULT,
    ALTER COLUMN public        DROP DEFAULT,
    ALTER COLUMN require_pkce  DROP DEFAULT,
    ALTER COLUMN require_scope DROP DEFAULT;

CREATE TABLE oauth_client_secrets (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id    text        COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    hash         bytea       NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz
);

CREATE INDEX oauth_client_secrets_client_id ON oauth_client_secrets (client_id);

INSERT INTO oauth_client_secrets (client_id, hash, created_at)
SELECT id, secret_hash, created_at FROM oauth_clients ORDER BY created_at, id;

ALTER TABLE oauth_clients DROP COLUMN secret_hash;

ALTER TABLE oauth_grants
    ALTER COLUMN user_id DROP NOT NULL, -- NULL: the client's own
    ADD COLUMN scope text,
    ADD COLUMN sites bigint[];

ALTER TABLE oauth_access_tokens
    ADD COLUMN issued_at timestamptz,
    ADD COLUMN scope     text; -- NULL: the grant's

-- A pair was issued when the token before it was spent, the first when the grant began.
UPDATE oauth_access_tokens t
SET issued_at = coalesce((
        SELECT max(p.used_at) FROM oauth_refresh_tokens p
        WHERE p.grant_id = t.grant_id AND p.successor_expires_at = t.expires_at
    ), g.created_at)
FROM oauth_grants g
WHERE g.id = t.grant_id;

ALTER TABLE oauth_access_tokens ALTER COLUMN issued_at SET NOT NULL;

ALTER TABLE oauth_refresh_tokens
    ADD COLUMN issued_at       timestamptz,
    ADD COLUMN successor_scope text; -- of the successor pair's access token; NULL: the grant's

UPDATE oauth_refresh_tokens t
SET issued_at = coalesce((SELECT p.used_at FROM oauth_refresh_tokens p WHERE p.hash = t.predecessor), g.created_at)
FROM oauth_grants g
WHERE g.id = t.grant_id;

ALTER TABLE oauth_refresh_tokens ALTER COLUMN issued_at SET NOT NULL;

CREATE TABLE oauth_codes (
    hash         bytea       NOT NULL PRIMARY KEY,
    ticket       bytea       NOT NULL UNIQUE, -- of the page on which the person consented
    client_id    text        COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    user_id      bigint      NOT NULL REFERENCES oauth_users (id),
    redirect_uri text        NOT NULL,
    challenge    text        NOT NULL, -- empty without PKCE
    scope        text,
    sites        bigint[],
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    grant_id     bigint      REFERENCES oauth_grants (id) -- that it gave, once it is spent
);

CREATE INDEX oauth_codes_grant_id ON oauth_codes (grant_id);
CREATE INDEX oauth_codes_expires_at ON oauth_codes (expires_at);

CREATE TABLE oauth_sessions (
    hash       bytea       NOT NULL PRIMARY KEY,
    user_id    bigint      NOT NULL REFERENCES oauth_users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX oauth_sessions_user_id ON oauth_sessions (user_id);
CREATE INDEX oauth_sessions_expires_at ON oauth_sessions (expires_at);
