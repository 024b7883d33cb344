-- +goose Up

-- A minute is the Unix time in seconds divided by 60, an hour that divided by 3,600.

-- Of a disabled person nothing is accepted until the account is enabled again.
ALTER TABLE oauth_users ADD COLUMN disabled_at timestamptz;

ALTER TABLE oauth_clients
    ADD COLUMN limit_hour         integer, -- wasteful tokens that it may be issued in an hour and a day,
    ADD COLUMN limit_day          integer, -- 0 for no limit; NULL, both: those of its kind
    ADD COLUMN told               smallint NOT NULL DEFAULT 0, -- the worst verdict of this episode: 1 notice, 2 warning, 3 over the line
    ADD COLUMN wasted_minute      integer  NOT NULL DEFAULT 0, -- of the last wasteful token
    ADD COLUMN reactivated_minute integer  NOT NULL DEFAULT 0, -- of the last reactivation
    ADD COLUMN off_ruling         bigint,  -- of oauth_rulings, by which it is off
    ADD COLUMN draining           boolean  NOT NULL DEFAULT false; -- while it is off, live tokens run out

-- What a deleted application wasted counts on for those that its owner has left.
CREATE INDEX oauth_clients_deleted ON oauth_clients (owner_id, wasted_minute) WHERE status = 'deleted';

-- When the last access token of the grant expires that was not revoked: by it is found
-- whether a person and an application hold one. NULL if there is none.
ALTER TABLE oauth_grants ADD COLUMN access_expires_at timestamptz;

UPDATE oauth_grants g
SET access_expires_at = t.expires_at
FROM (SELECT grant_id, max(expires_at) AS expires_at FROM oauth_access_tokens GROUP BY grant_id) t
WHERE t.grant_id = g.id;

DROP INDEX oauth_grants_user_id;
CREATE INDEX oauth_grants_user_id ON oauth_grants (user_id, client_id, access_expires_at);

-- Tokens by the minute in which they were issued. A row is changed only in its minute,
-- and when its application is reactivated.
CREATE TABLE oauth_issuance_minutes (
    minute     integer NOT NULL,
    lane       integer NOT NULL, -- of the writer, so that none waits for another's row; 0 where they take turns anyway
    tokens     integer NOT NULL,
    wasteful   integer NOT NULL, -- of these
    forgiven   integer NOT NULL, -- of the wasteful ones, by a reactivation: they do not count any more
    client_id  text    COLLATE "C" NOT NULL,
    grant_type text    COLLATE "C" NOT NULL,
    outcome    text    COLLATE "C" NOT NULL, -- issued; shadow: issued although over the line; switched_off: not issued
    PRIMARY KEY (client_id, minute, grant_type, outcome, lane)
) WITH (fillfactor = 80);

CREATE INDEX oauth_issuance_minutes_minute ON oauth_issuance_minutes (minute);

-- What became of minutes that are old.
CREATE TABLE oauth_issuance_hours (
    hour       integer NOT NULL,
    tokens     integer NOT NULL,
    wasteful   integer NOT NULL,
    client_id  text    COLLATE "C" NOT NULL,
    grant_type text    COLLATE "C" NOT NULL,
    outcome    text    COLLATE "C" NOT NULL,
    PRIMARY KEY (client_id, hour, grant_type, outcome)
);

CREATE INDEX oauth_issuance_hours_hour ON oauth_issuance_hours (hour);

-- Every verdict other than fine, with its evidence.
CREATE TABLE oauth_rulings (
    id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  text        COLLATE "C" NOT NULL REFERENCES oauth_clients (id),
    ruled_at   timestamptz NOT NULL,
    verdict    text        NOT NULL,
    actor      text        NOT NULL,
    key        text        COLLATE "C", -- of whoever asked, by which a repeat is known
    reason     text        NOT NULL, -- in the words of whoever asked
    rule       text        NOT NULL, -- of the policy: hour or day; else empty
    used       integer     NOT NULL,
    allowed    integer     NOT NULL,
    first_at   timestamptz, -- minute of the first of those that are used
    grant_type text        NOT NULL,
    lever      text        NOT NULL,
    effective  boolean     NOT NULL -- it changed something
);

CREATE INDEX oauth_rulings_client_id ON oauth_rulings (client_id, id);
CREATE UNIQUE INDEX oauth_rulings_key ON oauth_rulings (client_id, key) WHERE key IS NOT NULL;
CREATE INDEX oauth_rulings_ruled_at ON oauth_rulings (ruled_at);

-- What oauth_measure says of a request. outcome is an oauth.Outcome. level is 0 if all is
-- fine, 1 for a notice, 2 for a warning, 3 for a token that is more than the limit
-- allows. news says that it is in the record of rulings now. by_day, spent and quota
-- are the rule; in_hour and in_day how the application stands afterwards; hour_since
-- and day_since the minutes of the first wasteful tokens before, 0 if there were none.
CREATE TYPE oauth_tally AS (
    outcome integer, wastes boolean, level integer, news boolean, by_day boolean, spent integer, quota integer,
    in_hour integer, in_day integer, quota_hour integer, quota_day integer, hour_since integer, day_since integer
);

-- oauth_measure decides on a request for tokens by the rules of oauth.Judge, and writes
-- down what comes of it, in the transaction that issues them. It is called once the
-- application's row is locked, if that is a personal one; each statement in it sees
-- what was committed until then.
-- +goose StatementBegin
CREATE FUNCTION oauth_measure(
    client text, person bigint, asked_at timestamptz, this_minute integer, grant_name text, in_shadow boolean,
    default_hour integer, default_day integer, drain boolean
) RETURNS oauth_tally LANGUAGE plpgsql AS $$
DECLARE
    c          record;
    spare      timestamptz := asked_at + interval '5 minutes';
    became     integer := 0;
    wastes     boolean;
    in_hour    integer := 0;
    in_day     integer := 0;
    hour_since integer := 0;
    day_since  integer := 0;
    quota_hour integer;
    quota_day  integer;
    by_day     boolean;
    spent      integer;
    quota      integer;
    before     integer;
    level      integer;
    news       boolean;
    ruling     bigint;
BEGIN
    SELECT k.kind = 'personal' AS personal, k.status, k.owner_id, k.told, k.wasted_minute, k.reactivated_minute, k.limit_hour, k.limit_day,
        EXISTS (
            SELECT FROM oauth_users u
            WHERE u.id IN (person, k.owner_id) AND u.disabled_at IS NOT NULL AND (u.id = person OR k.kind = 'personal')) AS disabled
    INTO c FROM oauth_clients k WHERE k.id = client;
    IF c.status <> 'active' OR c.disabled THEN
        RETURN ROW(CASE WHEN c.status = 'off' THEN 2 ELSE 3 END, false, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0)::oauth_tally;
    END IF;

    IF person IS NULL THEN
        wastes := EXISTS (
            SELECT FROM oauth_grants g
            WHERE g.user_id IS NULL AND g.client_id = client AND g.access_expires_at > spare AND g.revoked_at IS NULL);
    ELSE
        wastes := EXISTS (
            SELECT FROM oauth_grants g
            WHERE g.user_id = person AND g.client_id = client AND g.access_expires_at > spare AND g.revoked_at IS NULL);
    END IF;

    IF NOT c.personal THEN
        INSERT INTO oauth_issuance_minutes AS m (client_id, minute, grant_type, outcome, lane, tokens, wasteful, forgiven)
        VALUES (client, this_minute, grant_name, 'issued', pg_backend_pid(), 1, wastes::integer, 0)
        ON CONFLICT (client_id, minute, grant_type, outcome, lane)
        DO UPDATE SET tokens = m.tokens + 1, wasteful = m.wasteful + excluded.wasteful;
        RETURN ROW(0, wastes, 0, false, false, 0, 0, 0, 0, 0, 0, 0, 0)::oauth_tally;
    END IF;

    IF c.wasted_minute > this_minute - 1440 THEN
        SELECT coalesce(sum(m.wasteful - m.forgiven) FILTER (WHERE m.minute > this_minute - 60), 0), coalesce(sum(m.wasteful - m.forgiven), 0),
            coalesce(min(m.minute) FILTER (WHERE m.minute > this_minute - 60 AND m.wasteful > m.forgiven), 0),
            coalesce(min(m.minute) FILTER (WHERE m.wasteful > m.forgiven), 0)
        INTO in_hour, in_day, hour_since, day_since
        FROM oauth_issuance_minutes m
        WHERE m.client_id = client AND m.minute > this_minute - 1440 AND m.outcome <> 'switched_off';
    END IF;
    IF EXISTS (
        SELECT FROM oauth_clients d
        WHERE d.owner_id = c.owner_id AND d.status = 'deleted' AND d.wasted_minute > this_minute - 1440
    ) THEN
        SELECT in_hour + coalesce(sum(m.wasteful - m.forgiven) FILTER (WHERE m.minute > this_minute - 60), 0),
            in_day + coalesce(sum(m.wasteful - m.forgiven), 0),
            coalesce(least(nullif(hour_since, 0), min(m.minute) FILTER (WHERE m.minute > this_minute - 60 AND m.wasteful > m.forgiven)), 0),
            coalesce(least(nullif(day_since, 0), min(m.minute) FILTER (WHERE m.wasteful > m.forgiven)), 0)
        INTO in_hour, in_day, hour_since, day_since
        FROM oauth_clients d
        JOIN oauth_issuance_minutes m ON m.client_id = d.id
        WHERE d.owner_id = c.owner_id AND d.status = 'deleted' AND d.wasted_minute > this_minute - 1440 AND d.kind = 'personal'
            AND m.minute > greatest(this_minute - 1440, c.reactivated_minute) AND m.outcome <> 'switched_off';
    END IF;

    quota_hour := coalesce(c.limit_hour, default_hour);
    quota_day := coalesce(c.limit_day, default_day);
    IF NOT wastes AND in_day = 0 AND c.told = 0 THEN -- so it is nearly always
        INSERT INTO oauth_issuance_minutes AS m (client_id, minute, grant_type, outcome, lane, tokens, wasteful, forgiven)
        VALUES (client, this_minute, grant_name, 'issued', 0, 1, 0, 0)
        ON CONFLICT (client_id, minute, grant_type, outcome, lane) DO UPDATE SET tokens = m.tokens + 1;
        RETURN ROW(0, false, 0, false, quota_hour = 0, 0, CASE quota_hour WHEN 0 THEN quota_day ELSE quota_hour END,
            0, 0, quota_hour, quota_day, 0, 0)::oauth_tally;
    END IF;

    before := CASE WHEN in_day = 0 THEN 0 ELSE c.told END; -- a day without waste has ended the episode
    in_hour := in_hour + wastes::integer;
    in_day := in_day + wastes::integer;
    by_day := quota_day > 0 AND (quota_hour = 0 OR in_day::bigint * quota_hour > in_hour::bigint * quota_day);
    spent := CASE WHEN by_day THEN in_day ELSE in_hour END;
    quota := CASE WHEN by_day THEN quota_day ELSE quota_hour END;
    level := CASE
        WHEN quota = 0 THEN 0
        WHEN wastes AND spent > quota THEN 3
        WHEN 5 * spent::bigint >= 4 * quota::bigint THEN 2
        WHEN 2 * spent::bigint >= quota THEN 1
        ELSE 0
    END;
    news := level > before;
    IF level = 3 AND NOT in_shadow THEN
        became := 1;
        news := true;
        in_hour := in_hour - 1;
        in_day := in_day - 1;
    END IF;

    INSERT INTO oauth_issuance_minutes AS m (client_id, minute, grant_type, outcome, lane, tokens, wasteful, forgiven)
    VALUES (client, this_minute, grant_name, CASE WHEN level < 3 THEN 'issued' WHEN in_shadow THEN 'shadow' ELSE 'switched_off' END,
        0, 1, wastes::integer, 0)
    ON CONFLICT (client_id, minute, grant_type, outcome, lane)
    DO UPDATE SET tokens = m.tokens + 1, wasteful = m.wasteful + excluded.wasteful;

    IF news THEN
        INSERT INTO oauth_rulings (client_id, ruled_at, verdict, actor, reason, rule, used, allowed, first_at, grant_type, lever, effective)
        VALUES (client, asked_at, CASE WHEN level = 1 THEN 'notice' WHEN level = 2 THEN 'warning' WHEN in_shadow THEN 'shadow' ELSE 'switch_off' END,
            'policy', '', CASE WHEN by_day THEN 'day' ELSE 'hour' END, spent, quota,
            to_timestamp(coalesce(nullif(CASE WHEN by_day THEN day_since ELSE hour_since END, 0), this_minute)::bigint * 60), grant_name,
            CASE WHEN became = 0 THEN '' WHEN drain THEN 'drain' ELSE 'off' END, true)
        RETURNING id INTO ruling;
    END IF;
    IF became = 1 THEN
        UPDATE oauth_clients k SET status = 'off', draining = drain, off_ruling = ruling, told = level WHERE k.id = client;
    ELSIF greatest(level, before) <> c.told OR wastes AND c.wasted_minute < this_minute THEN
        UPDATE oauth_clients k
        SET told = greatest(level, before), wasted_minute = greatest(k.wasted_minute, this_minute * wastes::integer)
        WHERE k.id = client;
    END IF;
    RETURN ROW(became, wastes, level, news, by_day, spent, quota, in_hour, in_day, quota_hour, quota_day, hour_since, day_since)::oauth_tally;
END
$$;
-- +goose StatementEnd
