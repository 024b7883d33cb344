package oauthpgx

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/foxbridge/foxbridge/oauth"
)

// AddDeviceCode implements oauth.Store. The client's row is locked first, so that what
// is counted then is all that there is, whatever process it came from.
func (s *Store) AddDeviceCode(ctx context.Context, c oauth.DeviceCode, limit int) error {
	err := s.db.Write(ctx, "client "+c.ClientID, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM oauth_clients WHERE id = $1 FOR NO KEY UPDATE`, c.ClientID); err != nil {
			return err
		}
		var waiting int
		if err := tx.QueryRow(ctx, `
			SELECT count(*) FROM oauth_device_codes WHERE client_id = $1 AND expires_at > $2 AND user_id IS NULL`,
			c.ClientID, c.Now).Scan(&waiting); err != nil {
			return err
		}
		if waiting >= limit {
			return oauth.ErrTooMany
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO oauth_device_codes (hash, user_code, client_id, created_at, expires_at, pace)
			VALUES ($1, $2, $3, $4, $5, $6)`,
			c.Hash[:], c.UserCode[:], c.ClientID, c.Now, c.ExpiresAt, c.Interval.Microseconds())
		return err
	})
	return missing("add device code", err)
}

// DeviceClient implements oauth.Store.
func (s *Store) DeviceClient(ctx context.Context, userCode oauth.Hash, now time.Time) (clientID string, err error) {
	err = s.db.Read().QueryRow(ctx, `
		SELECT client_id FROM oauth_device_codes WHERE user_code = $1 AND expires_at > $2 AND user_id IS NULL`,
		userCode[:], now).Scan(&clientID)
	if err != nil {
		return "", missing("find user code", err)
	}
	return clientID, nil
}

// AnswerDevice implements oauth.Store.
func (s *Store) AnswerDevice(ctx context.Context, a oauth.DeviceAnswer) error {
	err := s.db.Write(ctx, "user code "+string(a.UserCode[:]), func(ctx context.Context, tx pgx.Tx) error {
		if err := changedOne(tx.Exec(ctx, `
			UPDATE oauth_device_codes d
			SET user_id = $1, approved = $2
			FROM oauth_clients c
			WHERE d.user_code = $3 AND d.expires_at > $4 AND d.user_id IS NULL
				AND c.id = d.client_id AND c.owner_id = $1`,
			a.UserID, a.Approve, a.UserCode[:], a.Now)); err != nil {
			return err
		}
		return note(ctx, tx, a.Change)
	})
	return refusedOrMissing("answer device code", err)
}

// PollDevice implements oauth.Store. The code's row is locked, so that all polls of it
// come one after the other, whatever process they come from.
func (s *Store) PollDevice(ctx context.Context, p oauth.DevicePoll) (oauth.DeviceState, error) {
	var state oauth.DeviceState
	i := p.Issuance
	shared := sharing(i.ClientID, i.GrantType, i.Now, i.Meter, func() (is, wasteful bool) {
		return state.Outcome == oauth.DeviceGranted, state.Tally.Wasteful
	})
	err := s.db.Write(ctx, clientKey(i.ClientID, "device "+string(p.Code[:])), func(ctx context.Context, tx pgx.Tx) error {
		var err error
		state, err = poll(ctx, tx, p)
		return err
	}, append(shared, clientLock(i.ClientID))...)
	if err != nil {
		return oauth.DeviceState{}, missing("poll device code", err)
	}
	return state, nil
}

func poll(ctx context.Context, tx pgx.Tx, p oauth.DevicePoll) (state oauth.DeviceState, err error) {
	var (
		expires  time.Time
		pace     int64
		polled   *time.Time
		answer   *int64
		approved bool
	)
	now := p.Issuance.Now.Truncate(time.Microsecond)
	err = tx.QueryRow(ctx, `
		SELECT expires_at, pace, polled_at, user_id, approved
		FROM oauth_device_codes
		WHERE hash = $1 AND client_id = $2
		FOR UPDATE`,
		p.Code[:], p.Issuance.ClientID).Scan(&expires, &pace, &polled, &answer, &approved)
	switch {
	case err != nil:
		return oauth.DeviceState{}, err
	case answer != nil && !approved:
		return oauth.DeviceState{Outcome: oauth.DeviceDenied}, nil
	case !expires.After(now):
		return oauth.DeviceState{Outcome: oauth.DeviceExpired}, nil
	case approved:
		i := p.Issuance
		i.UserID = *answer
		row, err := issue(ctx, tx, i)
		new := row.result(i)
		switch {
		case err != nil:
			return oauth.DeviceState{}, err
		case new.Tally.Outcome != oauth.Issued:
			return oauth.DeviceState{Outcome: oauth.DeviceWithheld, Tally: new.Tally}, nil
		}
		state = oauth.DeviceState{Outcome: oauth.DeviceGranted, UserID: i.UserID, GrantID: new.ID, Tally: new.Tally}
		_, err = tx.Exec(ctx, `DELETE FROM oauth_device_codes WHERE hash = $1`, p.Code[:])
		return state, err
	}
	state.Outcome, state.Interval = oauth.DevicePending, time.Duration(pace)*time.Microsecond
	if polled != nil && now.Sub(*polled) < state.Interval-p.Slack {
		state.Outcome = oauth.DeviceTooFast
		state.Interval += p.Grow
	}
	_, err = tx.Exec(ctx, `
		UPDATE oauth_device_codes SET polled_at = $1, pace = $2 WHERE hash = $3`,
		now, state.Interval.Microseconds(), p.Code[:])
	return state, err
}

// IssueImplicit implements oauth.Store. The ticket is kept where those of codes are, with
// a code that nobody has.
func (s *Store) IssueImplicit(ctx context.Context, ticket oauth.Hash, i oauth.Issuance, changes ...oauth.Change) (oauth.NewGrant, error) {
	nobodys := oauth.HashOf(oauth.NewSecret())
	var row grantRow
	err := s.db.Write(ctx, "client "+i.ClientID, func(ctx context.Context, tx pgx.Tx) error {
		var err error
		if row, err = issue(ctx, tx, i); err != nil || row.id == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO oauth_codes (hash, ticket, client_id, user_id, redirect_uri, challenge, created_at, expires_at, grant_id)
			VALUES ($1, $2, $3, $4, '', '', $5, $6, $7)`,
			nobodys[:], ticket[:], i.ClientID, i.UserID, i.Now, i.AccessExpiresAt, row.id); err != nil {
			return err
		}
		if err := tellConsent(ctx, tx, i); err != nil {
			return err
		}
		return note(ctx, tx, changes...)
	}, newTokens(i, &row)...)
	if err != nil {
		return oauth.NewGrant{}, missing("issue token", err)
	}
	return row.result(i), nil
}

// issue is Issue in a transaction that does more, and that has newTokens of the row. An
// unknown client is pgx.ErrNoRows.
func issue(ctx context.Context, tx pgx.Tx, i oauth.Issuance) (row grantRow, err error) {
	err = tx.QueryRow(ctx, insertGrant(i), grantValues(i)...).Scan(row.into()...)
	row.found = err == nil
	return row, err
}
