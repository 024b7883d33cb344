package oauthpgx_test

import (
	"context"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

func (p *processes) Grants(ctx context.Context, userID int64, now time.Time, limit int) ([]oauth.Grant, error) {
	return p.next().Grants(ctx, userID, now, limit)
}

func (p *processes) Disconnect(ctx context.Context, userID int64, clientID string, now time.Time, changes ...oauth.Change) (int, error) {
	return p.next().Disconnect(ctx, userID, clientID, now, changes...)
}

func (p *processes) ClientsOf(ctx context.Context, ownerID int64, limit int) ([]oauth.Client, error) {
	return p.next().ClientsOf(ctx, ownerID, limit)
}

func (p *processes) AddClientWithin(ctx context.Context, c oauth.Client, room oauth.Room, changes ...oauth.Change) error {
	return p.next().AddClientWithin(ctx, c, room, changes...)
}
