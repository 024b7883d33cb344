package oauthpgx_test

import (
	"context"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

func (p *processes) DueNotices(ctx context.Context, q oauth.NoticeQuery) ([]oauth.Notice, error) {
	return p.next().DueNotices(ctx, q)
}

func (p *processes) AttemptNotice(ctx context.Context, a oauth.NoticeAttempt) (bool, error) {
	return p.next().AttemptNotice(ctx, a)
}

func (p *processes) NoticeTold(ctx context.Context, rulingID int64, channel oauth.Channel, at time.Time) error {
	return p.next().NoticeTold(ctx, rulingID, channel, at)
}

func (p *processes) NoticeLater(ctx context.Context, rulingID int64, channel oauth.Channel, next time.Time) error {
	return p.next().NoticeLater(ctx, rulingID, channel, next)
}

func (p *processes) AddLink(ctx context.Context, l oauth.Link) error { return p.next().AddLink(ctx, l) }

func (p *processes) Link(ctx context.Context, hash oauth.Hash) (oauth.Link, error) {
	return p.next().Link(ctx, hash)
}

func (p *processes) ForgetLinks(ctx context.Context, before time.Time, limit int) (int, error) {
	return p.next().ForgetLinks(ctx, before, limit)
}

func (p *processes) DueEvents(ctx context.Context, now, until time.Time, limit int) ([]oauth.ConnectionEvent, error) {
	return p.next().DueEvents(ctx, now, until, limit)
}

func (p *processes) EventTold(ctx context.Context, id int64) error {
	return p.next().EventTold(ctx, id)
}

func (p *processes) AllowedAt(ctx context.Context, userID int64, clientID string, at time.Time) ([]oauth.Allowed, error) {
	return p.next().AllowedAt(ctx, userID, clientID, at)
}

func (p *processes) UsersAt(ctx context.Context, clientID string, at time.Time, after int64, limit int) ([]oauth.User, error) {
	return p.next().UsersAt(ctx, clientID, at, after, limit)
}
