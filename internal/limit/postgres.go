package limit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Postgres is a Store in the table limits of a PostgreSQL database, which several
// processes may share. The table is unlogged: it is empty after a crash of the server,
// and that permits.
type Postgres struct {
	pool *pgxpool.Pool
	now  *int64 // for tests: the time; nil: the server's clock
}

var _ Store = (*Postgres)(nil)

// postgresConnections are few: one statement is short. They are the limits' own, so
// that neither readers nor writers of the record stand in the way.
const postgresConnections = 4

// OpenPostgres makes a Postgres on the database at dsn, which has the schema of
// deployments/migrations. It connects when it is first asked. The server gives up a
// statement after the timeout.
func OpenPostgres(ctx context.Context, dsn string, timeout time.Duration) (*Postgres, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("open database of limits: %w", err)
	}
	config.MaxConns, config.MinConns, config.MinIdleConns = postgresConnections, 0, 0
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	config.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(max(1, timeout.Milliseconds()), 10)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database of limits: %w", err)
	}
	return &Postgres{pool: pool}, nil
}

// The clock is the server's, since those of several processes differ; $3 is instead of
// it in tests. $4 is the interval of a request and $5 the span of the quota.
//
// A charge that is refused writes nothing. It reads the row as it stood when the
// statement began, which may be before the charge that took the last request.
const (
	nowSQL  = `coalesce($3::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)`
	debtSQL = `CASE WHEN l.until - (excluded.until - $4) BETWEEN 0 AND 2 * $5::bigint THEN l.until - (excluded.until - $4) ELSE 0 END`

	chargeSQL = `WITH clock AS MATERIALIZED (SELECT ` + nowSQL + ` AS now),
		charged AS (
			INSERT INTO limits AS l (policy, key, until)
			SELECT $1, $2, clock.now + $4::bigint FROM clock
			ON CONFLICT (policy, key) DO UPDATE SET until = excluded.until + ` + debtSQL + `
			WHERE ` + debtSQL + ` + $4 <= $5
			RETURNING l.until
		)
		SELECT clock.now, charged.until, (SELECT l.until FROM limits l WHERE l.policy = $1 AND l.key = $2)
		FROM clock LEFT JOIN charged ON true`

	refundSQL = `UPDATE limits SET until = until - $4::bigint WHERE policy = $1 AND key = $2 RETURNING ` + nowSQL + `, until`

	peekSQL = `SELECT ` + nowSQL + `, until FROM limits WHERE policy = $1 AND key = $2`
)

// Charge is as of Store.
func (s *Postgres) Charge(ctx context.Context, p Policy, key string) (State, error) {
	var now int64
	var charged, before *int64
	err := s.pool.QueryRow(ctx, chargeSQL, p.Name, key, s.now, p.interval(), p.span()).Scan(&now, &charged, &before)
	switch {
	case err != nil:
		return State{}, fmt.Errorf("charge policy %s: %w", p.Name, err)
	case charged != nil:
		return p.state(p.debt(*charged, now)), nil
	}
	debt := p.span() - p.interval() + 1 // the least that refuses
	if before != nil {
		debt = max(debt, p.debt(*before, now))
	}
	return p.refused(debt), nil
}

// Refund is as of Store.
func (s *Postgres) Refund(ctx context.Context, p Policy, key string) (State, error) {
	state, err := s.read(ctx, p, refundSQL, p.Name, key, s.now, p.interval())
	if err != nil {
		return State{}, fmt.Errorf("refund policy %s: %w", p.Name, err)
	}
	return state, nil
}

// Peek is as of Store.
func (s *Postgres) Peek(ctx context.Context, p Policy, key string) (State, error) {
	state, err := s.read(ctx, p, peekSQL, p.Name, key, s.now)
	if err != nil {
		return State{}, fmt.Errorf("look at policy %s: %w", p.Name, err)
	}
	return state, nil
}

func (s *Postgres) read(ctx context.Context, p Policy, query string, args ...any) (State, error) {
	var now, until int64
	err := s.pool.QueryRow(ctx, query, args...).Scan(&now, &until)
	if errors.Is(err, pgx.ErrNoRows) {
		return p.untouched(), nil
	}
	return p.state(p.debt(until, now)), err
}

// A sweep deletes at most sweepPasses times sweepRows rows.
const (
	sweepRows   = 1_000
	sweepPasses = 100

	sweepSQL = `DELETE FROM limits l USING (
			SELECT policy, key FROM limits
			WHERE forget_at < coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
			ORDER BY forget_at LIMIT $2
			FOR UPDATE SKIP LOCKED
		) old
		WHERE l.policy = old.policy AND l.key = old.key`
)

// Sweep is as of Store. Several processes may sweep at the same time.
func (s *Postgres) Sweep(ctx context.Context) error {
	for range sweepPasses {
		deleted, err := s.pool.Exec(ctx, sweepSQL, s.now, sweepRows)
		if err != nil {
			return fmt.Errorf("sweep limits: %w", err)
		}
		if deleted.RowsAffected() < sweepRows {
			break
		}
	}
	return nil
}

// Close closes the connections.
func (s *Postgres) Close() { s.pool.Close() }
