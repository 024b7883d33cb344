package oauthpgx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
)

// Issue implements oauth.Store.
func (s *Store) Issue(ctx context.Context, i oauth.Issuance) (oauth.NewGrant, error) {
	if i.Proof != (oauth.Proof{}) {
		return s.issueProven(ctx, i)
	}
	var row grantRow
	b := &pgx.Batch{}
	b.Queue(insertGrant(i), grantValues(i)...).QueryRow(oneOrNone(&row.found, row.into()...))
	if err := s.db.WriteBatch(ctx, clientKey(i.ClientID, i.UserID), b, newTokens(i, &row)...); err != nil {
		return oauth.NewGrant{}, refused("issue tokens", err)
	}
	if !row.found {
		return oauth.NewGrant{}, fmt.Errorf("issue tokens: %w", oauth.ErrNotFound)
	}
	return row.result(i), nil
}

// issueProven is Issue of what holds only while its proof does.
func (s *Store) issueProven(ctx context.Context, i oauth.Issuance) (oauth.NewGrant, error) {
	var row grantRow
	err := s.db.Write(ctx, clientKey(i.ClientID, i.UserID), func(ctx context.Context, tx pgx.Tx) error {
		err := proven(ctx, tx, i.UserID, i.Proof)
		if err == nil {
			row, err = issue(ctx, tx, i)
		}
		return err
	}, newTokens(i, &row)...)
	if err != nil {
		return oauth.NewGrant{}, missing("issue tokens", err)
	}
	return row.result(i), nil
}

// insertGrant inserts a grant with its first tokens, if the meter lets it.
func insertGrant(i oauth.Issuance) string {
	return `
		WITH ` + turn + `, subject AS (
			SELECT $9::bigint AS user_id,
				EXISTS (SELECT FROM oauth_users u WHERE u.id = $9 AND u.disabled_at IS NOT NULL) AS disabled
			FROM turn
		), ` + meterOf(i.Meter, i.UserID == 0) + `, new AS (
			INSERT INTO oauth_grants (client_id, user_id, grant_type, scope, sites, created_at, expires_at, held_until)
			SELECT $1, $9, $4, $10, $11, $2, $12, $13 FROM judged j WHERE (j.tally).outcome = 0
			RETURNING oauth_grants.id
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, issued_at, expires_at)
			SELECT $14, new.id, $2, $13 FROM new
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, issued_at, expires_at)
			SELECT $15, new.id, $2, $16 FROM new WHERE $15::bytea IS NOT NULL
		)` + firstOf(i) + `
		SELECT coalesce(new.id, 0), ` + tallied + `
		FROM judged j LEFT JOIN new ON true`
}

// grantValues are the arguments of insertGrant.
func grantValues(i oauth.Issuance) []any {
	expires := i.AccessExpiresAt
	if i.Refresh != (oauth.Hash{}) {
		expires = later(expires, i.RefreshExpiresAt)
	}
	return append(meterValues(i.ClientID, i.GrantType, i.Now, i.Meter),
		known(i.UserID), scope(i.Scope), i.Sites, expires, i.AccessExpiresAt,
		i.Access[:], given(i.Refresh), i.RefreshExpiresAt)
}

// grantRow is what insertGrant returns.
type grantRow struct {
	found bool
	id    int64
	tally tallyRow
}

func (r *grantRow) into() []any { return append([]any{&r.id}, r.tally.into()...) }

func (r *grantRow) result(i oauth.Issuance) oauth.NewGrant {
	return oauth.NewGrant{ID: r.id, Tally: r.tally.tally(i.Now, i.Meter)}
}

// newTokens is what an Issuance shares, of which row is what was returned.
func newTokens(i oauth.Issuance, row *grantRow) []groupcommit.Shared {
	return sharing(i.ClientID, i.GrantType, i.Now, i.Meter, func() (is, wasteful bool) {
		return row.found && row.id != 0, row.tally.wasteful
	})
}

// Rotate implements oauth.Store. The grant's row is locked first and the token's
// second, by which all changes of one family of tokens come one after the other,
// whatever process they come from. Everything that decides is in those two rows,
// which are read as they stand once they are locked, and in what the meter counts.
func (s *Store) Rotate(ctx context.Context, r oauth.Rotation) (oauth.Rotated, error) {
	now := r.Now.Truncate(time.Microsecond)
	var (
		result                     oauth.Rotated
		nonce                      []byte
		expiresAt                  *time.Time
		grantScope, successorScope scope
		row                        tallyRow
		found                      bool
	)
	b := &pgx.Batch{}
	b.Queue(`
		WITH `+turn+`, old AS MATERIALIZED (
			SELECT t.hash, t.grant_id, t.predecessor, t.nonce, t.successor_expires_at, t.successor_scope,
				g.user_id, g.scope,
				CASE
					WHEN t.used_at IS NULL                          THEN $17::int -- rotate
					WHEN t.used_at > $16 AND NOT t.successor_used   THEN $18::int -- replay
					ELSE                                                 $19::int -- reuse
				END AS outcome
			FROM turn
			CROSS JOIN oauth_refresh_tokens t
			JOIN oauth_grants g ON g.id = t.grant_id
			LEFT JOIN oauth_users u ON u.id = g.user_id
			WHERE t.hash = $9 AND t.expires_at > $2 AND g.revoked_at IS NULL AND u.disabled_at IS NULL
				AND (g.client_id = $1) IS TRUE -- never by an index of that: there may be a hundred thousand
			FOR NO KEY UPDATE OF g
			FOR UPDATE OF t
		), subject AS (
			SELECT old.user_id, false AS disabled FROM old WHERE old.outcome = $17
		), `+meterOf(r.Meter, false)+`, pass AS (
			SELECT old.hash, old.grant_id, old.predecessor FROM old, judged j WHERE (j.tally).outcome = 0
		), spend AS (
			UPDATE oauth_refresh_tokens t
			SET used_at = $2, nonce = $10, successor_expires_at = $12, successor_scope = $20
			FROM pass WHERE t.hash = pass.hash
		), close_replay AS (
			UPDATE oauth_refresh_tokens t
			SET successor_used = true
			FROM pass WHERE t.hash = pass.predecessor
		), access AS (
			INSERT INTO oauth_access_tokens (hash, grant_id, issued_at, expires_at, scope)
			SELECT $11, pass.grant_id, $2, $12, $20 FROM pass
		), refresh AS (
			INSERT INTO oauth_refresh_tokens (hash, grant_id, issued_at, expires_at, predecessor)
			SELECT $13, pass.grant_id, $2, $14, pass.hash FROM pass
		), prolong AS (
			UPDATE oauth_grants g
			SET expires_at = greatest(g.expires_at, $15), held_until = greatest(g.held_until, $12)
			FROM pass WHERE g.id = pass.grant_id
		), revoke AS (
			UPDATE oauth_grants g
			SET revoked_at = $2
			FROM old WHERE old.outcome = $19 AND g.id = old.grant_id
			RETURNING g.client_id, g.user_id, g.sites
		), `+ended(oauth.CauseReuse)+`
		SELECT CASE WHEN (j.tally).outcome > 0 THEN $21::int ELSE old.outcome END, old.grant_id, coalesce(old.user_id, 0),
			old.nonce, old.successor_expires_at, old.scope, coalesce(old.successor_scope, old.scope), `+tallied+`
		FROM old LEFT JOIN judged j ON true`,
		append(meterValues(r.ClientID, oauth.GrantRefresh, now, r.Meter),
			r.Old[:], r.Nonce[:], r.Access[:], r.AccessExpiresAt, r.Refresh[:], r.RefreshExpiresAt,
			later(r.AccessExpiresAt, r.RefreshExpiresAt), now.Add(-r.Grace),
			oauth.Rotate, oauth.Replay, oauth.Reuse, scope(r.Scope), oauth.Withheld)...).
		QueryRow(oneOrNone(&found, append([]any{
			&result.Outcome, &result.GrantID, &result.UserID, &nonce, &expiresAt, &grantScope, &successorScope,
		}, row.into()...)...))
	shared := sharing(r.ClientID, oauth.GrantRefresh, now, r.Meter, func() (is, wasteful bool) {
		return found && result.Outcome == oauth.Rotate, row.wasteful
	})
	if err := s.db.WriteBatch(ctx, clientKey(r.ClientID, string(r.Old[:])), b, shared...); err != nil {
		return oauth.Rotated{}, missing("rotate refresh token", err)
	}
	if !found {
		return oauth.Rotated{}, fmt.Errorf("rotate refresh token: %w", oauth.ErrNotFound)
	}
	switch result.Outcome {
	case oauth.Rotate:
		result.Nonce, result.ExpiresAt = r.Nonce, r.AccessExpiresAt.Truncate(time.Microsecond).UTC()
		result.Scope = r.Scope
		if r.Scope == nil {
			result.Scope = oauth.Scope(grantScope)
		}
		result.Tally = row.tally(now, r.Meter)
	case oauth.Withheld:
		result.Tally = row.tally(now, r.Meter)
	case oauth.Replay:
		copy(result.Nonce[:], nonce)
		result.ExpiresAt, result.Scope = stored(expiresAt), oauth.Scope(successorScope)
	}
	return result, nil
}

// Token implements oauth.Store.
func (s *Store) Token(ctx context.Context, token oauth.Hash, now time.Time) (t oauth.Token, err error) {
	var registered oauth.Scope // of the client
	err = s.db.Read().QueryRow(ctx, `
		SELECT t.use, g.id, g.client_id, coalesce(u.id, 0), coalesce(u.email, ''),
			coalesce(t.scope, g.scope), c.scope, t.issued_at, t.expires_at
		FROM (
			SELECT $3::text AS use, grant_id, scope, issued_at, expires_at
			FROM oauth_access_tokens
			WHERE hash = $1 AND expires_at > $2
			UNION ALL
			SELECT $4::text, grant_id, NULL, issued_at, expires_at
			FROM oauth_refresh_tokens
			WHERE hash = $1 AND expires_at > $2 AND used_at IS NULL
		) t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		LEFT JOIN oauth_users u ON u.id = g.user_id
		WHERE g.revoked_at IS NULL AND c.status <> $5 AND u.disabled_at IS NULL`,
		token[:], now, string(oauth.UseAccess), string(oauth.UseRefresh), string(oauth.Deleted)).
		Scan(&t.Use, &t.GrantID, &t.ClientID, &t.UserID, &t.UserEmail, (*scope)(&t.Scope), (*scope)(&registered), &t.IssuedAt, &t.ExpiresAt)
	if err != nil {
		return oauth.Token{}, missing("find token", err)
	}
	t.Scope = t.Scope.And(registered)
	t.IssuedAt, t.ExpiresAt = t.IssuedAt.UTC(), t.ExpiresAt.UTC()
	return t, nil
}

// Revoke implements oauth.Store. The grant and the refresh token are locked as Rotate
// locks them, so that of the two that come at once the second one sees what the first
// one left. What is given back so is held on: see oauth_grants.held_until.
func (s *Store) Revoke(ctx context.Context, clientID string, token oauth.Hash, now time.Time) error {
	b := &pgx.Batch{}
	b.Queue(`
		WITH access AS (
			DELETE FROM oauth_access_tokens t
			USING oauth_grants g
			WHERE t.hash = $1 AND t.expires_at > $2 AND g.id = t.grant_id AND g.client_id = $3 AND g.revoked_at IS NULL
		), refresh AS MATERIALIZED (
			SELECT t.grant_id
			FROM oauth_refresh_tokens t
			JOIN oauth_grants g ON g.id = t.grant_id
			WHERE t.hash = $1 AND t.expires_at > $2 AND t.used_at IS NULL AND g.client_id = $3 AND g.revoked_at IS NULL
			FOR NO KEY UPDATE OF g
			FOR UPDATE OF t
		), revoke AS (
			UPDATE oauth_grants g
			SET revoked_at = $2
			FROM refresh WHERE g.id = refresh.grant_id
			RETURNING g.client_id, g.user_id, g.sites
		), `+ended(oauth.CauseApplication)+`
		SELECT`,
		token[:], now, clientID)
	err := s.db.WriteBatch(ctx, clientKey(clientID, string(token[:])), b, clientLock(clientID))
	if err = missing("revoke token", err); errors.Is(err, oauth.ErrNotFound) {
		return nil // no client has such an ID
	}
	return err
}

// Access implements oauth.Store.
func (s *Store) Access(ctx context.Context, token oauth.Hash, now time.Time) (a oauth.Access, err error) {
	var registered oauth.Scope // of the client
	var off bool
	err = s.db.Read().QueryRow(ctx, `
		SELECT t.grant_id, g.client_id, c.name, coalesce(u.id, 0), coalesce(u.name, ''), coalesce(u.email, ''),
			coalesce(t.scope, g.scope), c.scope, g.sites, t.expires_at, c.status = $3 AND NOT c.draining
		FROM oauth_access_tokens t
		JOIN oauth_grants g ON g.id = t.grant_id
		JOIN oauth_clients c ON c.id = g.client_id
		LEFT JOIN oauth_users u ON u.id = g.user_id
		WHERE t.hash = $1 AND t.expires_at > $2 AND g.revoked_at IS NULL AND u.disabled_at IS NULL AND c.status IN ($3, $4)`,
		token[:], now, string(oauth.Off), string(oauth.Active)).
		Scan(&a.GrantID, &a.ClientID, &a.ClientName, &a.UserID, &a.UserName, &a.UserEmail,
			(*scope)(&a.Scope), (*scope)(&registered), &a.Sites, &a.ExpiresAt, &off)
	if err != nil {
		return oauth.Access{}, missing("find access token", err)
	}
	if off {
		return oauth.Access{ClientID: a.ClientID}, fmt.Errorf("find access token: %w", oauth.ErrOff)
	}
	a.Scope, a.ExpiresAt = a.Scope.And(registered), a.ExpiresAt.UTC()
	return a, nil
}

// Purge implements oauth.Store. Rows that somebody has locked are left for the next
// time. A grant stays as long as the code that gave it, which knows by it that it was
// spent.
func (s *Store) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	var deleted [8]int64
	b := &pgx.Batch{}
	for i, sql := range [len(deleted)]string{
		`DELETE FROM oauth_codes WHERE hash IN (
			SELECT hash FROM oauth_codes WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_device_codes WHERE hash IN (
			SELECT hash FROM oauth_device_codes WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_sessions WHERE hash IN (
			SELECT hash FROM oauth_sessions WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_access_tokens WHERE hash IN (
			SELECT hash FROM oauth_access_tokens WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_refresh_tokens WHERE hash IN (
			SELECT hash FROM oauth_refresh_tokens WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_grants WHERE id IN (
			SELECT g.id FROM oauth_grants g
			WHERE g.expires_at < $1
				AND NOT EXISTS (SELECT FROM oauth_access_tokens t WHERE t.grant_id = g.id)
				AND NOT EXISTS (SELECT FROM oauth_refresh_tokens t WHERE t.grant_id = g.id)
				AND NOT EXISTS (SELECT FROM oauth_codes c WHERE c.grant_id = g.id)
			ORDER BY g.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_sign_in_failures WHERE id IN (
			SELECT id FROM oauth_sign_in_failures WHERE failed_at < $1
			ORDER BY failed_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		`DELETE FROM oauth_spent WHERE hash IN (
			SELECT hash FROM oauth_spent WHERE expires_at < $1
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	} {
		b.Queue(sql, before, max(0, limit)).Exec(func(tag pgconn.CommandTag) error {
			deleted[i] = tag.RowsAffected()
			return nil
		})
	}
	if err := s.db.WriteBatch(ctx, "purge", b); err != nil {
		return 0, refused("purge", err)
	}
	var total int64
	for _, n := range deleted {
		total += n
	}
	return int(total), nil
}
