-- +goose Up

-- Rulings that somebody is to be told of on a channel: mail goes to the owner of the
-- application, webhook to the operator.
CREATE TABLE oauth_notices (
    ruling_id INTEGER NOT NULL REFERENCES oauth_rulings (id) ON DELETE CASCADE,
    channel   TEXT    NOT NULL,
    told_at   INTEGER,
    next_at   INTEGER, -- when it is tried next; NULL: never again
    attempts  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (ruling_id, channel)
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_notices_next_at ON oauth_notices (channel, next_at, ruling_id) WHERE next_at IS NOT NULL;

-- Links in mail, by which an owner comes to the page of the application. One is used up
-- when an application is reactivated through it: that ruling has the link's key.
CREATE TABLE oauth_links (
    hash       BLOB    PRIMARY KEY,
    ruling_id  INTEGER NOT NULL REFERENCES oauth_rulings (id) ON DELETE CASCADE,
    client_id  TEXT    NOT NULL REFERENCES oauth_clients (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX oauth_links_ruling_id ON oauth_links (ruling_id);
CREATE INDEX oauth_links_expires_at ON oauth_links (expires_at);
