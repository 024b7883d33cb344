-- +goose Up

-- What a person has granted, and the applications that a person has registered.
CREATE INDEX oauth_grants_user_id ON oauth_grants (user_id, client_id);
CREATE INDEX oauth_clients_owner_id ON oauth_clients (owner_id);
