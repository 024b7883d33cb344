-- +goose Up

-- What an owner registered of late is counted by this one, deleted ones too.
CREATE INDEX oauth_clients_registered ON oauth_clients (owner_id, created_at);
DROP INDEX oauth_clients_owner_id;

-- Of one that is deleted. When those were that are deleted by now is not known.
ALTER TABLE oauth_clients ADD COLUMN deleted_at INTEGER;

UPDATE oauth_clients SET deleted_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE status = 'deleted';

CREATE INDEX oauth_clients_deleted_at ON oauth_clients (deleted_at) WHERE deleted_at IS NOT NULL;

-- What is left of a deleted one, which goes when nothing is.
CREATE INDEX oauth_codes_client_id ON oauth_codes (client_id);
CREATE INDEX oauth_links_client_id ON oauth_links (client_id);
CREATE INDEX oauth_connection_events_client_id ON oauth_connection_events (client_id);

-- What only an operator may reactivate is listed by the ruling by which it is off.
CREATE INDEX oauth_clients_off ON oauth_clients (off_ruling) WHERE status = 'off';
