-- +goose Up

-- What an application was told of in shadow mode nobody has heard.
ALTER TABLE oauth_clients ADD COLUMN told_in_shadow boolean NOT NULL DEFAULT false;

-- Whether a token is wasteful is asked by the statement that issues it, which begins when the
-- application's row is locked. Only what is wasteful, or was within a day, needs a decision;
-- all other tokens are counted at the end of the transaction, those of a minute in one go.
DROP FUNCTION oauth_measure(
    text, bigint, timestamptz, integer, text, boolean, integer, integer, boolean,
    bigint, smallint, integer, integer, integer, integer, integer);

-- oauth_measure decides on a request for tokens of a personal application that is active by
-- the rules of oauth.Judge, and writes down what comes of it, in the transaction that issues
-- them; one that is not wasteful is counted elsewhere. The application's row is locked before.
-- The arguments that begin with app are columns of that row, app_told is 0 if what it was
-- told does not count.
-- +goose StatementBegin
CREATE FUNCTION oauth_measure(
    client text, wastes boolean, asked_at timestamptz, this_minute integer, grant_name text, in_shadow boolean,
    default_hour integer, default_day integer, drain boolean,
    app_owner bigint, app_told smallint, app_wasted integer, app_reactivated integer, app_succeeds integer,
    app_hour integer, app_day integer
) RETURNS oauth_tally LANGUAGE plpgsql AS $$
DECLARE
    quota_hour integer := coalesce(app_hour, default_hour);
    quota_day  integer := coalesce(app_day, default_day);
    became     integer;
    in_hour    integer;
    in_day     integer;
    old_hour   integer := 0; -- of these, by deleted applications of the owner
    old_day    integer := 0;
    hour_since integer;
    day_since  integer;
    by_day     boolean;
    spent      integer;
    quota      integer;
    before     integer;
    level      integer;
    news       boolean;
    ruling     bigint;
BEGIN
    SELECT coalesce(sum(m.wasteful - m.forgiven) FILTER (WHERE m.minute > this_minute - 60), 0),
        coalesce(sum(m.wasteful - m.forgiven), 0),
        coalesce(min(m.minute) FILTER (WHERE m.minute > this_minute - 60 AND m.wasteful > m.forgiven), 0),
        coalesce(min(m.minute) FILTER (WHERE m.wasteful > m.forgiven), 0)
    INTO in_hour, in_day, hour_since, day_since
    FROM oauth_issuance_minutes m
    WHERE m.client_id = client AND m.minute > this_minute - 1440 AND m.outcome <> 'switched_off';
    IF app_succeeds > 0 THEN -- asked here: in a statement it would have each one planned anew
        SELECT coalesce(sum(m.wasteful - m.forgiven) FILTER (WHERE m.minute > this_minute - 60), 0),
            coalesce(sum(m.wasteful - m.forgiven), 0),
            coalesce(least(nullif(hour_since, 0), min(m.minute) FILTER (WHERE m.minute > this_minute - 60 AND m.wasteful > m.forgiven)), 0),
            coalesce(least(nullif(day_since, 0), min(m.minute) FILTER (WHERE m.wasteful > m.forgiven)), 0)
        INTO old_hour, old_day, hour_since, day_since
        FROM oauth_clients d
        JOIN oauth_issuance_minutes m ON m.client_id = d.id
        WHERE d.owner_id = app_owner AND d.status = 'deleted' AND d.wasted_minute > this_minute - 1440
            AND d.deletion <= app_succeeds AND d.kind = 'personal'
            AND m.minute > greatest(this_minute - 1440, app_reactivated) AND m.outcome <> 'switched_off';
        in_hour := in_hour + old_hour;
        in_day := in_day + old_day;
    END IF;

    became := 0;
    before := CASE WHEN in_day = 0 THEN 0 ELSE app_told END; -- a day without waste has ended the episode
    in_hour := in_hour + wastes::integer;
    in_day := in_day + wastes::integer;
    by_day := quota_day > 0 AND (quota_hour = 0 OR in_day::bigint * quota_hour > in_hour::bigint * quota_day);
    spent := CASE WHEN by_day THEN in_day ELSE in_hour END;
    quota := CASE WHEN by_day THEN quota_day ELSE quota_hour END;
    level := CASE
        WHEN quota = 0 OR NOT wastes THEN 0
        WHEN spent > quota THEN 3
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

    IF wastes THEN
        INSERT INTO oauth_issuance_minutes AS m (client_id, minute, grant_type, outcome, lane, tokens, wasteful, forgiven)
        VALUES (client, this_minute, grant_name, CASE WHEN level < 3 THEN 'issued' WHEN in_shadow THEN 'shadow' ELSE 'switched_off' END, 0, 1, 1, 0)
        ON CONFLICT (client_id, minute, grant_type, outcome, lane)
        DO UPDATE SET tokens = m.tokens + 1, wasteful = m.wasteful + 1;
    END IF;
    IF news THEN
        INSERT INTO oauth_rulings (client_id, ruled_at, verdict, actor, reason, rule, used, inherited, allowed, first_at, grant_type, lever, effective)
        VALUES (client, asked_at, CASE WHEN level = 1 THEN 'notice' WHEN level = 2 THEN 'warning' WHEN in_shadow THEN 'shadow' ELSE 'switch_off' END,
            'policy', '', CASE WHEN by_day THEN 'day' ELSE 'hour' END,
            spent, CASE WHEN by_day THEN old_day ELSE old_hour END, quota,
            to_timestamp(coalesce(nullif(CASE WHEN by_day THEN day_since ELSE hour_since END, 0), this_minute)::bigint * 60), grant_name,
            CASE WHEN became = 0 THEN '' WHEN drain THEN 'drain' ELSE 'off' END, true)
        RETURNING id INTO ruling;
    END IF;
    IF became = 1 THEN
        UPDATE oauth_clients k SET status = 'off', draining = drain, off_ruling = ruling, told = level, told_in_shadow = false WHERE k.id = client;
        INSERT INTO oauth_changes (user_id, action, client_id, subject, actor_id, address, changed_at)
        VALUES (app_owner, 'application.off.policy', client, '', 0, '', asked_at);
    ELSIF greatest(level, before) <> app_told OR wastes AND app_wasted < this_minute THEN
        UPDATE oauth_clients k
        SET told = greatest(level, before), told_in_shadow = in_shadow AND (news OR k.told_in_shadow),
            wasted_minute = greatest(k.wasted_minute, this_minute * wastes::integer)
        WHERE k.id = client;
    END IF;
    RETURN ROW(became, wastes, level, news, by_day, spent, quota, in_hour, in_day, quota_hour, quota_day, hour_since, day_since)::oauth_tally;
END
$$;
-- +goose StatementEnd

-- By one index is found what an application has of a person, and until when that is held.
CREATE INDEX oauth_grants_held ON oauth_grants (client_id, user_id, held_until);
DROP INDEX oauth_grants_client_id;
DROP INDEX oauth_grants_user_id;
CREATE INDEX oauth_grants_user_id ON oauth_grants (user_id);
