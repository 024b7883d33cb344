-- +goose Up

-- rule is JSON: when it runs by itself.
CREATE TABLE scenarios (
    id         bigint      PRIMARY KEY,
    site_id    bigint      NOT NULL REFERENCES sites (id),
    label      text        NOT NULL,
    type       text        NOT NULL CHECK (type IN ('onDemand', 'scheduled', 'onEvent', 'simulation')),
    enabled    boolean     NOT NULL,
    rule       text        NOT NULL,
    created_by bigint      NOT NULL REFERENCES oauth_users (id),
    created_at timestamptz NOT NULL
);
CREATE INDEX scenarios_site ON scenarios (site_id, id);

-- device_id 0 stands for the site's own alarm, which is no row of devices.
CREATE TABLE scenario_steps (
    scenario_id bigint NOT NULL REFERENCES scenarios (id) ON DELETE CASCADE,
    position    bigint NOT NULL,
    device_id   bigint NOT NULL,
    operation   text   NOT NULL,
    PRIMARY KEY (scenario_id, position)
);
