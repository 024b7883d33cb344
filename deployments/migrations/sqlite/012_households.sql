-- +goose Up

ALTER TABLE sites ADD COLUMN language TEXT NOT NULL DEFAULT 'en';

-- failure begins the sentence of a command that was not done.
ALTER TABLE commands ADD COLUMN failure TEXT NOT NULL DEFAULT '';
ALTER TABLE commands ADD COLUMN language TEXT NOT NULL DEFAULT 'en';

CREATE TABLE site_invitations (
    site_id     INTEGER NOT NULL REFERENCES sites (id),
    email       TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    secret_hash BLOB    NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (site_id, email)
) STRICT, WITHOUT ROWID;
CREATE INDEX site_invitations_expires ON site_invitations (expires_at);

CREATE INDEX site_members_site ON site_members (site_id, user_id);

CREATE TABLE device_groups (
    id         INTEGER NOT NULL PRIMARY KEY,
    site_id    INTEGER NOT NULL REFERENCES sites (id),
    kind       TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX device_groups_site ON device_groups (site_id, kind, id);

CREATE TABLE device_group_members (
    group_id  INTEGER NOT NULL REFERENCES device_groups (id) ON DELETE CASCADE,
    device_id INTEGER NOT NULL REFERENCES devices (id),
    PRIMARY KEY (group_id, device_id)
) STRICT, WITHOUT ROWID;
