package oauthpgx_test

import (
	"context"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

func (p *processes) SwitchOff(ctx context.Context, i oauth.Intervention) (bool, error) {
	return p.next().SwitchOff(ctx, i)
}

func (p *processes) Reactivate(ctx context.Context, i oauth.Intervention) (bool, error) {
	return p.next().Reactivate(ctx, i)
}

func (p *processes) OffBy(ctx context.Context, clientID string, after time.Time, limit int) (oauth.Ruling, []time.Time, error) {
	return p.next().OffBy(ctx, clientID, after, limit)
}

func (p *processes) OwnReactivations(ctx context.Context, clientID string, after time.Time, limit int) ([]time.Time, error) {
	return p.next().OwnReactivations(ctx, clientID, after, limit)
}

func (p *processes) OperatorOnly(ctx context.Context, q oauth.OperatorOnlyQuery) ([]oauth.Ruling, error) {
	return p.next().OperatorOnly(ctx, q)
}

func (p *processes) Verdicts(ctx context.Context, clientID string, before int64, limit int) ([]oauth.Ruling, error) {
	return p.next().Verdicts(ctx, clientID, before, limit)
}

func (p *processes) SetLimits(ctx context.Context, clientID string, l *oauth.Limits) error {
	return p.next().SetLimits(ctx, clientID, l)
}

func (p *processes) LimitsOf(ctx context.Context, clientID string) (*oauth.Limits, error) {
	return p.next().LimitsOf(ctx, clientID)
}

func (p *processes) IssuanceMinutes(ctx context.Context, since time.Time, afterClient string, clients int) ([]oauth.IssuanceMinute, error) {
	return p.next().IssuanceMinutes(ctx, since, afterClient, clients)
}

func (p *processes) IssuanceOf(ctx context.Context, clientID string, since time.Time, step time.Duration) ([]oauth.Issuances, error) {
	return p.next().IssuanceOf(ctx, clientID, since, step)
}

func (p *processes) Standing(ctx context.Context, clientID string, now time.Time) (oauth.Standing, error) {
	return p.next().Standing(ctx, clientID, now)
}

func (p *processes) Condense(ctx context.Context, minutes, hours time.Time, limit int) (int, error) {
	return p.next().Condense(ctx, minutes, hours, limit)
}

func (p *processes) SetDisabled(ctx context.Context, userID int64, disabled bool, now time.Time) error {
	return p.next().SetDisabled(ctx, userID, disabled, now)
}
