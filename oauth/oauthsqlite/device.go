package oauthsqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddDeviceCode implements oauth.Store.
func (s *Store) AddDeviceCode(ctx context.Context, c oauth.DeviceCode, limit int) error {
	err := s.db.Write(ctx, "client "+c.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		var waiting int
		if err := tx.QueryRowContext(ctx, `
			SELECT count(*) FROM oauth_device_codes WHERE client_id = ? AND expires_at > ? AND user_id IS NULL`,
			c.ClientID, c.Now.UnixMicro()).Scan(&waiting); err != nil {
			return err
		}
		if waiting >= limit {
			return oauth.ErrTooMany
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_device_codes (hash, user_code, client_id, created_at, expires_at, pace)
			VALUES (?, ?, ?, ?, ?, ?)`,
			c.Hash[:], c.UserCode[:], c.ClientID, c.Now.UnixMicro(), c.ExpiresAt.UnixMicro(), c.Interval.Microseconds())
		return err
	})
	return refused("add device code", err)
}

// DeviceClient implements oauth.Store.
func (s *Store) DeviceClient(ctx context.Context, userCode oauth.Hash, now time.Time) (clientID string, err error) {
	err = s.db.Read().QueryRowContext(ctx, `
		SELECT client_id FROM oauth_device_codes WHERE user_code = ? AND expires_at > ? AND user_id IS NULL`,
		userCode[:], now.UnixMicro()).Scan(&clientID)
	return clientID, refused("find user code", err)
}

// AnswerDevice implements oauth.Store.
func (s *Store) AnswerDevice(ctx context.Context, a oauth.DeviceAnswer) error {
	err := s.db.Write(ctx, "user code "+string(a.UserCode[:]), func(ctx context.Context, tx *sql.Tx) error {
		if err := one(tx.ExecContext(ctx, `
			UPDATE oauth_device_codes AS d
			SET user_id = ?1, approved = ?2
			FROM oauth_clients c
			WHERE d.user_code = ?3 AND d.expires_at > ?4 AND d.user_id IS NULL
				AND c.id = d.client_id AND c.owner_id = ?1`,
			a.UserID, a.Approve, a.UserCode[:], a.Now.UnixMicro())); err != nil {
			return err
		}
		return note(ctx, tx, a.Change)
	})
	return refused("answer device code", err)
}

// PollDevice implements oauth.Store.
func (s *Store) PollDevice(ctx context.Context, p oauth.DevicePoll) (oauth.DeviceState, error) {
	if !storable(p.Issuance.Scope...) {
		return oauth.DeviceState{}, fmt.Errorf("poll device code: %w", errText)
	}
	var state oauth.DeviceState
	err := s.db.Write(ctx, "client "+p.Issuance.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		state, err = poll(ctx, tx, p)
		return err
	})
	if err != nil {
		return oauth.DeviceState{}, refused("poll device code", err)
	}
	return state, nil
}

func poll(ctx context.Context, tx *sql.Tx, p oauth.DevicePoll) (state oauth.DeviceState, err error) {
	var (
		expires, pace  int64
		polled, answer sql.NullInt64
		approved       bool
	)
	now := p.Issuance.Now.UnixMicro()
	err = tx.QueryRowContext(ctx, `
		SELECT expires_at, pace, polled_at, user_id, approved
		FROM oauth_device_codes
		WHERE hash = ? AND client_id = ?`,
		p.Code[:], p.Issuance.ClientID).Scan(&expires, &pace, &polled, &answer, &approved)
	switch {
	case err != nil:
		return oauth.DeviceState{}, err
	case answer.Valid && !approved:
		return oauth.DeviceState{Outcome: oauth.DeviceDenied}, nil
	case expires <= now:
		return oauth.DeviceState{Outcome: oauth.DeviceExpired}, nil
	case approved:
		i := p.Issuance
		i.UserID = answer.Int64
		new, err := issue(ctx, tx, i)
		switch {
		case err != nil:
			return oauth.DeviceState{}, err
		case new.Tally.Outcome != oauth.Issued:
			return oauth.DeviceState{Outcome: oauth.DeviceWithheld, Tally: new.Tally}, nil
		}
		state = oauth.DeviceState{Outcome: oauth.DeviceGranted, UserID: i.UserID, GrantID: new.ID, Tally: new.Tally}
		_, err = tx.ExecContext(ctx, `DELETE FROM oauth_device_codes WHERE hash = ?`, p.Code[:])
		return state, err
	}
	state.Outcome = oauth.DevicePending
	if polled.Valid && now-polled.Int64 < pace-p.Slack.Microseconds() {
		state.Outcome = oauth.DeviceTooFast
		pace += p.Grow.Microseconds()
	}
	state.Interval = time.Duration(pace) * time.Microsecond
	_, err = tx.ExecContext(ctx, `
		UPDATE oauth_device_codes SET polled_at = ?, pace = ? WHERE hash = ?`,
		now, pace, p.Code[:])
	return state, err
}

// IssueImplicit implements oauth.Store. The ticket is kept where those of codes are, with
// a code that nobody has.
func (s *Store) IssueImplicit(ctx context.Context, ticket oauth.Hash, i oauth.Issuance, changes ...oauth.Change) (oauth.NewGrant, error) {
	if !storable(i.GrantType) || !storable(i.Scope...) {
		return oauth.NewGrant{}, fmt.Errorf("issue token: %w", errText)
	}
	nobodys := oauth.HashOf(oauth.NewSecret())
	var new oauth.NewGrant
	err := s.db.Write(ctx, "client "+i.ClientID, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		if new, err = issue(ctx, tx, i); err != nil || new.Tally.Outcome != oauth.Issued {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_codes (hash, ticket, client_id, user_id, redirect_uri, challenge, created_at, expires_at, grant_id)
			VALUES (?, ?, ?, ?, '', '', ?, ?, ?)`,
			nobodys[:], ticket[:], i.ClientID, i.UserID, i.Now.UnixMicro(), i.AccessExpiresAt.UnixMicro(), new.ID); err != nil {
			return err
		}
		if err := tellConsent(ctx, tx, i.ClientID, i.UserID, i.Scope, i.Sites, i.Now); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	})
	if err != nil {
		return oauth.NewGrant{}, refused("issue token", err)
	}
	return new, nil
}
