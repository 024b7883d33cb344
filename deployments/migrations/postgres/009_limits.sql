-- +goose Up

-- How callers stand with the limits, for bridges that share them. Losing it permits,
-- so it is not logged. Times are microseconds since 1970: the algorithm counts so.
--
-- forget_at is when a row means nothing any more, in steps of ten minutes: a charge
-- then rarely changes what is indexed, and PostgreSQL updates the row in its page.
CREATE UNLOGGED TABLE limits (
    policy    text   NOT NULL,
    key       text   NOT NULL, -- of the caller
    until     bigint NOT NULL, -- when the whole quota is there again
    forget_at bigint NOT NULL GENERATED ALWAYS AS ((until / 600000000 + 1) * 600000000) STORED,
    PRIMARY KEY (policy, key)
) WITH (fillfactor = 50);

CREATE INDEX limits_forget_at ON limits (forget_at);
