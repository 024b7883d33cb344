-- +goose Up

-- What people read where they are asked for their consent waits for an operator too.
ALTER TABLE oauth_client_edits
    ADD COLUMN description text,
    ADD COLUMN home_page   text;

UPDATE oauth_client_edits e
SET description = c.description, home_page = c.home_page
FROM oauth_clients c
WHERE c.id = e.client_id;

ALTER TABLE oauth_client_edits
    ALTER COLUMN description SET NOT NULL,
    ALTER COLUMN home_page SET NOT NULL;
