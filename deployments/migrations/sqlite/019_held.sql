-- +goose Up

-- Until when the grant's access tokens make another one wasteful: the last one's end, also
-- if the application itself gave it back. NULL if a person or an operator has ended it. Who
-- ended those that are revoked by now is not known.
ALTER TABLE oauth_grants RENAME COLUMN access_expires_at TO held_until;

UPDATE oauth_grants SET held_until = NULL WHERE revoked_at IS NOT NULL AND held_until IS NOT NULL;

-- What a deleted application wasted counts on for those that its owner registered after it
-- was deleted. Deletions are numbered for that: a clock may go back.

-- Of applications of which this is the owner.
ALTER TABLE oauth_users ADD COLUMN deletions INTEGER NOT NULL DEFAULT 0;
-- How many deletions of its owner there were when it was registered, and which of them was
-- its own; 0 if it is not deleted.
ALTER TABLE oauth_clients ADD COLUMN succeeds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE oauth_clients ADD COLUMN deletion INTEGER NOT NULL DEFAULT 0;

UPDATE oauth_users
SET deletions = (SELECT count(*) FROM oauth_clients c WHERE c.owner_id = oauth_users.id AND c.status = 'deleted');

UPDATE oauth_clients
SET deletion = (SELECT u.deletions FROM oauth_users u WHERE u.id = oauth_clients.owner_id)
WHERE status = 'deleted';

-- Of used, by deleted applications of the owner.
ALTER TABLE oauth_rulings ADD COLUMN inherited INTEGER NOT NULL DEFAULT 0;
