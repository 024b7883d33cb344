-- +goose Up

-- A notice that is about to be told counts for its owner, who is told only so much in a day.
ALTER TABLE oauth_notices ADD COLUMN owner_id INTEGER REFERENCES oauth_users (id); -- who is told; NULL: it was not attempted, or is not told to an owner
ALTER TABLE oauth_notices ADD COLUMN attempt_at INTEGER; -- of the last attempt to tell that owner
ALTER TABLE oauth_notices ADD COLUMN withheld_at INTEGER; -- it was not told, as the owner had been told enough

CREATE INDEX oauth_notices_owner_id ON oauth_notices (owner_id, attempt_at) WHERE attempt_at IS NOT NULL;
