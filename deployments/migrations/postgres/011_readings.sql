-- +goose Up

-- since holds, as JSON, since when readings are null: milliseconds since 1970 UTC.
ALTER TABLE states ADD COLUMN since text NOT NULL DEFAULT '';

-- One value of each slot, which is as long as the bridge is set to.
CREATE TABLE measurements (
    device_id bigint           NOT NULL REFERENCES devices (id),
    reading   text             COLLATE "C" NOT NULL,
    slot      timestamptz      NOT NULL,
    at        timestamptz      NOT NULL,
    value     double precision NOT NULL,
    PRIMARY KEY (device_id, reading, slot)
);
CREATE INDEX measurements_slot ON measurements (slot);

-- What is left of the measurements of an hour.
CREATE TABLE measurement_hours (
    device_id bigint           NOT NULL REFERENCES devices (id),
    reading   text             COLLATE "C" NOT NULL,
    hour      timestamptz      NOT NULL,
    count     bigint           NOT NULL,
    total     double precision NOT NULL,
    last      double precision NOT NULL,
    last_at   timestamptz      NOT NULL,
    PRIMARY KEY (device_id, reading, hour)
);
CREATE INDEX measurement_hours_hour ON measurement_hours (hour);

CREATE INDEX history_created ON history (created_at);
