-- +goose Up

-- What people read where they are asked for their consent waits for an operator too.
ALTER TABLE oauth_client_edits ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_client_edits ADD COLUMN home_page TEXT NOT NULL DEFAULT '';

UPDATE oauth_client_edits
SET description = c.description, home_page = c.home_page
FROM oauth_clients c
WHERE c.id = oauth_client_edits.client_id;
