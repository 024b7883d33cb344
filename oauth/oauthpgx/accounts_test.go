package oauthpgx_test

import (
	"context"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

func (p *processes) ChangePassword(ctx context.Context, c oauth.PasswordChange, changes ...oauth.Change) error {
	return p.next().ChangePassword(ctx, c, changes...)
}

func (p *processes) SetOperator(ctx context.Context, userID int64, operator bool, changes ...oauth.Change) error {
	return p.next().SetOperator(ctx, userID, operator, changes...)
}

func (p *processes) SetAppPasswordsOnly(ctx context.Context, userID int64, only bool, changes ...oauth.Change) error {
	return p.next().SetAppPasswordsOnly(ctx, userID, only, changes...)
}

func (p *processes) Sessions(ctx context.Context, userID int64, now time.Time, limit int) ([]oauth.Session, error) {
	return p.next().Sessions(ctx, userID, now, limit)
}

func (p *processes) EndSessionOf(ctx context.Context, userID int64, session oauth.Hash, changes ...oauth.Change) error {
	return p.next().EndSessionOf(ctx, userID, session, changes...)
}

func (p *processes) EndOtherSessions(ctx context.Context, userID int64, keep oauth.Hash, changes ...oauth.Change) (int, error) {
	return p.next().EndOtherSessions(ctx, userID, keep, changes...)
}

func (p *processes) AddAppPassword(ctx context.Context, a oauth.AppPassword, limit int, changes ...oauth.Change) error {
	return p.next().AddAppPassword(ctx, a, limit, changes...)
}

func (p *processes) AppPasswords(ctx context.Context, clientID string, limit int) ([]oauth.AppPassword, error) {
	return p.next().AppPasswords(ctx, clientID, limit)
}

func (p *processes) AppPassword(ctx context.Context, clientID string, hash oauth.Hash) (oauth.AppPassword, error) {
	return p.next().AppPassword(ctx, clientID, hash)
}

func (p *processes) TouchAppPassword(ctx context.Context, id int64, now time.Time) error {
	return p.next().TouchAppPassword(ctx, id, now)
}

func (p *processes) RemoveAppPassword(ctx context.Context, clientID string, id int64, changes ...oauth.Change) error {
	return p.next().RemoveAppPassword(ctx, clientID, id, changes...)
}

func (p *processes) PendingClients(ctx context.Context, limit int) ([]oauth.Client, error) {
	return p.next().PendingClients(ctx, limit)
}

func (p *processes) NoteUses(ctx context.Context, u oauth.Uses) error {
	return p.next().NoteUses(ctx, u)
}

func (p *processes) PurgeChanges(ctx context.Context, before time.Time, limit int) (int, error) {
	return p.next().PurgeChanges(ctx, before, limit)
}
