-- +goose Up

ALTER TABLE sites ADD COLUMN language text NOT NULL DEFAULT 'en';

-- failure begins the sentence of a command that was not done.
ALTER TABLE commands ADD COLUMN failure text NOT NULL DEFAULT '';
ALTER TABLE commands ADD COLUMN language text NOT NULL DEFAULT 'en';

CREATE TABLE site_invitations (
    site_id     bigint      NOT NULL REFERENCES sites (id),
    email       text        COLLATE "C" NOT NULL,
    role        text        NOT NULL,
    secret_hash bytea       NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (site_id, email)
);
CREATE INDEX site_invitations_expires ON site_invitations (expires_at);

CREATE INDEX site_members_site ON site_members (site_id, user_id);

CREATE TABLE device_groups (
    id         bigint      PRIMARY KEY,
    site_id    bigint      NOT NULL REFERENCES sites (id),
    kind       text        NOT NULL,
    label      text        NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX device_groups_site ON device_groups (site_id, kind, id);

CREATE TABLE device_group_members (
    group_id  bigint NOT NULL REFERENCES device_groups (id) ON DELETE CASCADE,
    device_id bigint NOT NULL REFERENCES devices (id),
    PRIMARY KEY (group_id, device_id)
);
