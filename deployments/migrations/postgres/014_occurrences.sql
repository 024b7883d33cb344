-- +goose Up

-- next_at is when a scenario that runs by the clock is due; plan is what a simulation does
-- in the window that is open, as JSON.
ALTER TABLE scenarios ADD COLUMN next_at timestamptz;
ALTER TABLE scenarios ADD COLUMN plan text NOT NULL DEFAULT '';
CREATE INDEX scenarios_next ON scenarios (next_at) WHERE enabled;

-- That its row is there is what makes an occurrence happen once. While it is open it is
-- nobody's from lease_until on.
CREATE TABLE scenario_occurrences (
    scenario_id bigint      NOT NULL REFERENCES scenarios (id) ON DELETE CASCADE,
    occasion    text        COLLATE "C" NOT NULL,
    at          timestamptz NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('open', 'ran', 'missed', 'barred', 'held', 'dropped', 'interrupted')),
    recorded_at timestamptz NOT NULL,
    begun_at    timestamptz,
    lease_until timestamptz,
    ended_at    timestamptz,
    PRIMARY KEY (scenario_id, occasion)
);
CREATE INDEX scenario_occurrences_open ON scenario_occurrences (lease_until) WHERE outcome = 'open';
CREATE INDEX scenario_occurrences_begun ON scenario_occurrences (scenario_id, begun_at);
CREATE INDEX scenario_occurrences_at ON scenario_occurrences (at);
