package oauthsqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// newNotices bounds the rulings that one call of DueNotices makes notices of.
const newNotices = 1_000

// DueNotices implements oauth.Notices.
func (s *Store) DueNotices(ctx context.Context, q oauth.NoticeQuery) ([]oauth.Notice, error) {
	verdicts, err := json.Marshal(q.Channel.Verdicts())
	if err != nil {
		return nil, fmt.Errorf("find notices: %w", err)
	}
	var due []oauth.Notice
	err = s.db.Write(ctx, "notices", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_notices (ruling_id, channel, next_at)
			SELECT r.id, ?1, ?3
			FROM oauth_rulings r
			WHERE r.ruled_at >= ?2 AND r.verdict IN (SELECT value FROM json_each(?4)) AND r.effective
				AND NOT EXISTS (SELECT 1 FROM oauth_notices n WHERE n.ruling_id = r.id AND n.channel = ?1)
			ORDER BY r.ruled_at, r.id LIMIT ?5`,
			q.Channel, q.Since.UnixMicro(), q.Now.UnixMicro(), string(verdicts), newNotices); err != nil {
			return err
		}
		var err error
		if due, err = dueNotices(ctx, tx, q); err != nil {
			return err
		}
		for i := range due {
			due[i].Attempts++
			if _, err := tx.ExecContext(ctx, `
				UPDATE oauth_notices SET next_at = ?, attempts = ? WHERE ruling_id = ? AND channel = ?`,
				q.Until.UnixMicro(), due[i].Attempts, due[i].ID, q.Channel); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, refused("find notices", err)
	}
	return due, nil
}

func dueNotices(ctx context.Context, tx *sql.Tx, q oauth.NoticeQuery) ([]oauth.Notice, error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT n.attempts, r.id, r.client_id, r.ruled_at, r.verdict, r.actor, coalesce(r.key, ''), r.reason, r.rule, r.used, r.inherited, r.allowed,
			r.first_at, r.grant_type, r.lever, r.effective
		FROM oauth_notices n
		JOIN oauth_rulings r ON r.id = n.ruling_id
		WHERE n.channel = ? AND n.next_at <= ?
		ORDER BY n.next_at, n.ruling_id LIMIT ?`,
		q.Channel, q.Now.UnixMicro(), max(0, q.Limit))
	return collect(rows, err, func(row scanner) (oauth.Notice, error) {
		n := oauth.Notice{Channel: q.Channel}
		r, err := scanRuling(behind{row, []any{&n.Attempts}})
		n.Ruling = r
		return n, err
	})
}

// behind scans what stands before the columns that its user knows of.
type behind struct {
	scanner
	first []any
}

func (b behind) Scan(dest ...any) error { return b.scanner.Scan(append(b.first, dest...)...) }

// NoticeTold implements oauth.Notices.
func (s *Store) NoticeTold(ctx context.Context, rulingID int64, channel oauth.Channel, at time.Time) error {
	err := s.db.Write(ctx, "notices", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE oauth_notices SET told_at = coalesce(told_at, ?), next_at = NULL WHERE ruling_id = ? AND channel = ?`,
			at.UnixMicro(), rulingID, channel)
		return err
	})
	return refused("note that a ruling was told", err)
}

// NoticeLater implements oauth.Notices.
func (s *Store) NoticeLater(ctx context.Context, rulingID int64, channel oauth.Channel, next time.Time) error {
	err := s.db.Write(ctx, "notices", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE oauth_notices SET next_at = ? WHERE ruling_id = ? AND channel = ? AND told_at IS NULL`,
			sql.NullInt64{Int64: next.UnixMicro(), Valid: !next.IsZero()}, rulingID, channel)
		return err
	})
	return refused("put a notice off", err)
}

// AttemptNotice implements oauth.Notices.
func (s *Store) AttemptNotice(ctx context.Context, a oauth.NoticeAttempt) (bool, error) {
	mild, err := json.Marshal(oauth.MildVerdicts())
	if err != nil {
		return false, fmt.Errorf("note attempt to tell: %w", err)
	}
	var may bool
	err = s.db.Write(ctx, "notices", func(ctx context.Context, tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `
			SELECT count(*) < ?5 AND (
				count(*) FILTER (WHERE r.verdict IN (SELECT value FROM json_each(?7))) < ?6
				OR NOT EXISTS (SELECT 1 FROM oauth_rulings self WHERE self.id = ?4 AND self.verdict IN (SELECT value FROM json_each(?7))))
			FROM (
				SELECT ruling_id FROM oauth_notices
				WHERE owner_id = ?1 AND attempt_at > ?2 AND channel = ?3 AND ruling_id <> ?4
				LIMIT ?5) o
			JOIN oauth_rulings r ON r.id = o.ruling_id`,
			a.OwnerID, a.Since.UnixMicro(), a.Channel, a.RulingID, a.Max, a.MaxMild, string(mild)).Scan(&may); err != nil {
			return err
		}
		set := `owner_id = ?1, attempt_at = ?2`
		if !may {
			set = `owner_id = ?1, withheld_at = ?2, next_at = NULL`
		}
		return one(tx.ExecContext(ctx, `UPDATE oauth_notices SET `+set+` WHERE ruling_id = ?3 AND channel = ?4 AND told_at IS NULL`,
			a.OwnerID, a.Now.UnixMicro(), a.RulingID, a.Channel))
	})
	if err != nil {
		return false, refused("note attempt to tell", err)
	}
	return may, nil
}

// AddLink implements oauth.Notices.
func (s *Store) AddLink(ctx context.Context, l oauth.Link) error {
	err := s.db.Write(ctx, "client "+l.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO oauth_links (hash, ruling_id, client_id, expires_at) VALUES (?, ?, ?, ?)`,
			l.Hash[:], l.RulingID, l.ClientID, l.ExpiresAt.UnixMicro())
		return err
	})
	return refused("add link", err)
}

// Link implements oauth.Notices.
func (s *Store) Link(ctx context.Context, hash oauth.Hash) (oauth.Link, error) {
	l := oauth.Link{Hash: hash}
	var expires int64
	var used sql.NullInt64
	err := s.db.Read().QueryRowContext(ctx, `
		SELECT l.ruling_id, l.client_id, l.expires_at,
			(SELECT r.ruled_at FROM oauth_rulings r WHERE r.client_id = l.client_id AND r.key = ?2)
		FROM oauth_links l WHERE l.hash = ?1`,
		hash[:], oauth.LinkKey(hash)).Scan(&l.RulingID, &l.ClientID, &expires, &used)
	if err != nil {
		return oauth.Link{}, refused("find link", err)
	}
	l.ExpiresAt = timeOf(expires)
	if used.Valid {
		l.UsedAt = timeOf(used.Int64)
	}
	return l, nil
}

// ForgetLinks implements oauth.Notices.
func (s *Store) ForgetLinks(ctx context.Context, before time.Time, limit int) (int, error) {
	var n int64
	err := s.db.Write(ctx, "purge links", func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `
			DELETE FROM oauth_links WHERE hash IN (
				SELECT hash FROM oauth_links WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`,
			before.UnixMicro(), max(0, limit))
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, refused("forget links", err)
	}
	return int(n), nil
}
