-- +goose Up

-- Nothing: it counts and decides in the program. The step is here because both dialects
-- have one history.
SELECT 1;
