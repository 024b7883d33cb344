package oauthpgx_test

import (
	"context"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

func (p *processes) UpdateClient(ctx context.Context, u oauth.ClientUpdate) error {
	return p.next().UpdateClient(ctx, u)
}

func (p *processes) HeldEdit(ctx context.Context, clientID string) (oauth.HeldEdit, error) {
	return p.next().HeldEdit(ctx, clientID)
}

func (p *processes) HeldEdits(ctx context.Context, after string, limit int) ([]oauth.HeldEdit, error) {
	return p.next().HeldEdits(ctx, after, limit)
}

func (p *processes) Review(ctx context.Context, v oauth.Review) error {
	return p.next().Review(ctx, v)
}

func (p *processes) DeleteClient(ctx context.Context, clientID string, now time.Time, change oauth.Change) error {
	return p.next().DeleteClient(ctx, clientID, now, change)
}

func (p *processes) Logo(ctx context.Context, clientID string, hash oauth.Hash) ([]byte, error) {
	return p.next().Logo(ctx, clientID, hash)
}

func (p *processes) AddDeviceCode(ctx context.Context, c oauth.DeviceCode, limit int) error {
	return p.next().AddDeviceCode(ctx, c, limit)
}

func (p *processes) DeviceClient(ctx context.Context, userCode oauth.Hash, now time.Time) (string, error) {
	return p.next().DeviceClient(ctx, userCode, now)
}

func (p *processes) AnswerDevice(ctx context.Context, a oauth.DeviceAnswer) error {
	return p.next().AnswerDevice(ctx, a)
}

func (p *processes) PollDevice(ctx context.Context, d oauth.DevicePoll) (oauth.DeviceState, error) {
	return p.next().PollDevice(ctx, d)
}

func (p *processes) IssueImplicit(ctx context.Context, ticket oauth.Hash, i oauth.Issuance, changes ...oauth.Change) (oauth.NewGrant, error) {
	return p.next().IssueImplicit(ctx, ticket, i, changes...)
}
