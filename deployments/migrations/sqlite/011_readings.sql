-- +goose Up

-- since holds, as JSON, since when readings are null: milliseconds since 1970 UTC.
ALTER TABLE states ADD COLUMN since TEXT NOT NULL DEFAULT '';

-- One value of each slot, which is as long as the bridge is set to.
CREATE TABLE measurements (
    device_id INTEGER NOT NULL REFERENCES devices (id),
    reading   TEXT    NOT NULL,
    slot      INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    value     REAL    NOT NULL,
    PRIMARY KEY (device_id, reading, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX measurements_slot ON measurements (slot);

-- What is left of the measurements of an hour.
CREATE TABLE measurement_hours (
    device_id INTEGER NOT NULL REFERENCES devices (id),
    reading   TEXT    NOT NULL,
    hour      INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    total     REAL    NOT NULL,
    last      REAL    NOT NULL,
    last_at   INTEGER NOT NULL,
    PRIMARY KEY (device_id, reading, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX measurement_hours_hour ON measurement_hours (hour);

CREATE INDEX history_created ON history (created_at);
