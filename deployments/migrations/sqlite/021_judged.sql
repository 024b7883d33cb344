-- +goose Up

-- What an application was told of in shadow mode nobody has heard.
ALTER TABLE oauth_clients ADD COLUMN told_in_shadow INTEGER NOT NULL DEFAULT 0;

-- By one index is found what an application has of a person, and until when that is held.
CREATE INDEX oauth_grants_held ON oauth_grants (client_id, user_id, held_until);
DROP INDEX oauth_grants_client_id;
DROP INDEX oauth_grants_user_id;
CREATE INDEX oauth_grants_user_id ON oauth_grants (user_id);
