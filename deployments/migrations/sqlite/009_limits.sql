-- +goose Up

-- Nothing: one bridge alone serves a SQLite database, and has its limits in memory. The
-- step is here because both dialects have one history.
SELECT 1;
