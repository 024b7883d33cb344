-- +goose Up

-- Rulings that somebody is to be told of on a channel: mail goes to the owner of the
-- application, webhook to the operator.
CREATE TABLE oauth_notices (
    ruling_id bigint  NOT NULL REFERENCES oauth_rulings (id) ON DELETE CASCADE,
    channel   text    COLLATE "C" NOT NULL,
    told_at   timestamptz,
    next_at   timestamptz, -- when it is tried next; NULL: never again
    attempts  integer NOT NULL DEFAULT 0,
    PRIMARY KEY (ruling_id, channel)
);

CREATE INDEX oauth_notices_next_at ON oauth_notices (channel, next_at, ruling_id) WHERE next_at IS NOT NULL;

-- Links in mail, by which an owner comes to the page of the application. One is used up
-- when an application is reactivated through it: that ruling has the link's key.
CREATE TABLE oauth_links (
    hash       bytea       PRIMARY KEY,
    ruling_id  bigint      NOT NULL REFERENCES oauth_rulings (id) ON DELETE CASCADE,
    client_id  text        COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    expires_at timestamptz NOT NULL
);

CREATE INDEX oauth_links_ruling_id ON oauth_links (ruling_id);
CREATE INDEX oauth_links_expires_at ON oauth_links (expires_at);
