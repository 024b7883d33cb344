package oauthpgx_test

import (
	"context"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

func (p *processes) Factors(ctx context.Context, userID int64) (oauth.Factors, error) {
	return p.next().Factors(ctx, userID)
}

func (p *processes) Passkey(ctx context.Context, credentialID []byte) (oauth.Passkey, error) {
	return p.next().Passkey(ctx, credentialID)
}

func (p *processes) AddTOTP(ctx context.Context, t oauth.TOTP, codes []oauth.Hash, c oauth.Change) (bool, error) {
	return p.next().AddTOTP(ctx, t, codes, c)
}

func (p *processes) AddPasskey(ctx context.Context, key oauth.Passkey, limit int, ceremony oauth.Spent, codes []oauth.Hash, c oauth.Change) (bool, error) {
	return p.next().AddPasskey(ctx, key, limit, ceremony, codes, c)
}

func (p *processes) RemoveTOTP(ctx context.Context, userID int64, c oauth.Change) error {
	return p.next().RemoveTOTP(ctx, userID, c)
}

func (p *processes) RemovePasskey(ctx context.Context, userID, passkeyID int64, c oauth.Change) error {
	return p.next().RemovePasskey(ctx, userID, passkeyID, c)
}

func (p *processes) RemoveFactors(ctx context.Context, userID int64, c oauth.Change) (int, error) {
	return p.next().RemoveFactors(ctx, userID, c)
}

func (p *processes) SetRecoveryCodes(ctx context.Context, userID int64, codes []oauth.Hash, c oauth.Change) error {
	return p.next().SetRecoveryCodes(ctx, userID, codes, c)
}

func (p *processes) AddTry(ctx context.Context, key oauth.Hash, now, since time.Time, limit int) (int64, oauth.Failures, error) {
	return p.next().AddTry(ctx, key, now, since, limit)
}

func (p *processes) UseTOTP(ctx context.Context, userID, step, tryID int64, signIn oauth.Spent, now time.Time) error {
	return p.next().UseTOTP(ctx, userID, step, tryID, signIn, now)
}

func (p *processes) UsePasskey(ctx context.Context, key oauth.Passkey, signIn oauth.Spent, now time.Time) error {
	return p.next().UsePasskey(ctx, key, signIn, now)
}

func (p *processes) UseRecoveryCode(ctx context.Context, userID int64, code oauth.Hash, signIn oauth.Spent, c oauth.Change) (int, error) {
	return p.next().UseRecoveryCode(ctx, userID, code, signIn, c)
}
