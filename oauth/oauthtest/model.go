package oauthtest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/oauth"
)

// model compares a store with the plainest thing that keeps the promises of Issue,
// Rotate, Access and Purge, through any sequence of calls while time goes on.
func model(t *testing.T, b *bench) {
	clients := []oauth.Client{b.client(), b.client()}
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		m := plain{now: asStored(start())}
		lifetime := rapid.SampledFrom([]time.Duration{time.Second, 90 * time.Second, time.Hour})
		client := rapid.SampledFrom(clients)
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"issue", "rotate", "rotate", "rotate", "purge", "wait"}), 4, 20).Draw(t, "steps")
		for _, step := range append([]string{"issue"}, steps...) {
			switch step {
			case "wait":
				m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Microsecond, time.Second, grace, time.Hour}).Draw(t, "for"))
			case "issue":
				c := client.Draw(t, "client")
				i := oauth.Issuance{
					ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantPassword,
					Access: b.hash(), Refresh: b.hash(), Now: m.now,
					AccessExpiresAt:  m.now.Add(lifetime.Draw(t, "access")),
					RefreshExpiresAt: m.now.Add(lifetime.Draw(t, "refresh")),
				}
				id, err := b.Issue(ctx, i)
				if err != nil {
					t.Fatal(err)
				}
				m.issue(id, i)
			case "rotate":
				old := rapid.SampledFrom(m.refresh).Draw(t, "token")
				r := oauth.Rotation{
					ClientID: old.grant.client, Old: old.hash,
					Nonce: b.nonce(), Access: b.hash(), Refresh: b.hash(), Now: m.now,
					AccessExpiresAt:  m.now.Add(lifetime.Draw(t, "access")),
					RefreshExpiresAt: m.now.Add(lifetime.Draw(t, "refresh")),
					Grace:            grace,
				}
				if rapid.IntRange(0, 9).Draw(t, "by") == 9 {
					r.ClientID = client.Draw(t, "client").ID
				}
				want := m.rotate(r)
				got, err := b.Rotate(ctx, r)
				found := want != oauth.Rotated{}
				if found != (err == nil) || err != nil && !errors.Is(err, oauth.ErrNotFound) {
					t.Fatalf("error %v, want %+v", err, want)
				}
				if diff := cmp.Diff(want, got, exact()); diff != "" {
					t.Fatalf("(-want +got)\n%s", diff)
				}
			case "purge": // no answer may change by it
				if _, err := b.Purge(ctx, m.now, rapid.IntRange(0, 3).Draw(t, "limit")); err != nil {
					t.Fatal(err)
				}
			}
			token := rapid.SampledFrom(m.access).Draw(t, "access")
			_, err := b.Access(ctx, token.hash, m.now)
			if m.alive(token) != (err == nil) || err != nil && !errors.Is(err, oauth.ErrNotFound) {
				t.Fatalf("access: %v, alive %v", err, m.alive(token))
			}
		}
	})
}

// plain is the record of tokens.
type plain struct {
	now             time.Time
	access, refresh []*token
}

type token struct {
	hash      oauth.Hash
	grant     *grant
	expiresAt time.Time

	// Of a spent refresh token:
	usedAt    time.Time
	nonce     oauth.Nonce
	pairEnds  time.Time
	successor *token
}

type grant struct {
	id      int64
	client  string
	user    int64
	revoked bool
}

func (p *plain) issue(id int64, i oauth.Issuance) {
	p.pair(&grant{id: id, client: i.ClientID, user: i.UserID}, i.Access, i.AccessExpiresAt, i.Refresh, i.RefreshExpiresAt)
}

func (p *plain) pair(g *grant, access oauth.Hash, accessEnds time.Time, refresh oauth.Hash, refreshEnds time.Time) *token {
	successor := &token{hash: refresh, grant: g, expiresAt: refreshEnds}
	p.access = append(p.access, &token{hash: access, grant: g, expiresAt: accessEnds})
	p.refresh = append(p.refresh, successor)
	return successor
}

func (p *plain) alive(t *token) bool { return t.expiresAt.After(p.now) && !t.grant.revoked }

// rotate gives a zero value for what is not found.
func (p *plain) rotate(r oauth.Rotation) oauth.Rotated {
	var old *token
	for _, t := range p.refresh {
		if t.hash == r.Old && p.alive(t) && t.grant.client == r.ClientID {
			old = t
		}
	}
	if old == nil {
		return oauth.Rotated{}
	}
	result := oauth.Rotated{GrantID: old.grant.id, UserID: old.grant.user}
	switch {
	case old.successor == nil:
		old.usedAt, old.nonce, old.pairEnds = r.Now, r.Nonce, r.AccessExpiresAt
		old.successor = p.pair(old.grant, r.Access, r.AccessExpiresAt, r.Refresh, r.RefreshExpiresAt)
		result.Outcome, result.Nonce, result.ExpiresAt = oauth.Rotate, r.Nonce, r.AccessExpiresAt
	case r.Now.Sub(old.usedAt) < r.Grace && old.successor.successor == nil:
		result.Outcome, result.Nonce, result.ExpiresAt = oauth.Replay, old.nonce, old.pairEnds
	default:
		old.grant.revoked = true
		result.Outcome = oauth.Reuse
	}
	return result
}
