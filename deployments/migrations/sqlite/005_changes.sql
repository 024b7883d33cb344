-- +goose Up

-- What was changed about a person's account and applications. It names applications
-- that may be gone.
CREATE TABLE oauth_changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    INTEGER NOT NULL REFERENCES oauth_users (id),
    action     TEXT    NOT NULL,
    client_id  TEXT    NOT NULL, -- empty: of no application
    subject    TEXT    NOT NULL,
    actor_id   INTEGER NOT NULL, -- 0: an operator, by command
    address    TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

CREATE INDEX oauth_changes_user_id ON oauth_changes (user_id, id);
