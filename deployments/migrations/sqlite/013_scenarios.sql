-- +goose Up

-- rule is JSON: when it runs by itself.
CREATE TABLE scenarios (
    id         INTEGER NOT NULL PRIMARY KEY,
    site_id    INTEGER NOT NULL REFERENCES sites (id),
    label      TEXT    NOT NULL,
    type       TEXT    NOT NULL CHECK (type IN ('onDemand', 'scheduled', 'onEvent', 'simulation')),
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    rule       TEXT    NOT NULL,
    created_by INTEGER NOT NULL REFERENCES oauth_users (id),
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX scenarios_site ON scenarios (site_id, id);

-- device_id 0 stands for the site's own alarm, which is no row of devices.
CREATE TABLE scenario_steps (
    scenario_id INTEGER NOT NULL REFERENCES scenarios (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    device_id   INTEGER NOT NULL,
    operation   TEXT    NOT NULL,
    PRIMARY KEY (scenario_id, position)
) STRICT, WITHOUT ROWID;
