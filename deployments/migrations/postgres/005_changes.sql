-- +goose Up

-- What was changed about a person's account and applications. It names applications
-- that may be gone.
CREATE TABLE oauth_changes (
    id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    bigint      NOT NULL REFERENCES oauth_users (id),
    action     text        NOT NULL,
    client_id  text        COLLATE "C" NOT NULL, -- empty: of no application
    subject    text        NOT NULL,
    actor_id   bigint      NOT NULL, -- 0: an operator, by command
    address    text        NOT NULL,
    changed_at timestamptz NOT NULL
);

CREATE INDEX oauth_changes_user_id ON oauth_changes (user_id, id);
