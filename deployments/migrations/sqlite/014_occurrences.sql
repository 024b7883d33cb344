-- +goose Up

-- next_at is when a scenario that runs by the clock is due; plan is what a simulation does
-- in the window that is open, as JSON.
ALTER TABLE scenarios ADD COLUMN next_at INTEGER;
ALTER TABLE scenarios ADD COLUMN plan TEXT NOT NULL DEFAULT '';
CREATE INDEX scenarios_next ON scenarios (next_at) WHERE enabled = 1;

-- That its row is there is what makes an occurrence happen once. While it is open it is
-- nobody's from lease_until on.
CREATE TABLE scenario_occurrences (
    scenario_id INTEGER NOT NULL REFERENCES scenarios (id) ON DELETE CASCADE,
    occasion    TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('open', 'ran', 'missed', 'barred', 'held', 'dropped', 'interrupted')),
    recorded_at INTEGER NOT NULL,
    begun_at    INTEGER,
    lease_until INTEGER,
    ended_at    INTEGER,
    PRIMARY KEY (scenario_id, occasion)
) STRICT, WITHOUT ROWID;
CREATE INDEX scenario_occurrences_open ON scenario_occurrences (lease_until) WHERE outcome = 'open';
CREATE INDEX scenario_occurrences_begun ON scenario_occurrences (scenario_id, begun_at);
CREATE INDEX scenario_occurrences_at ON scenario_occurrences (at);
