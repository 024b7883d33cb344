package oauthtest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/oauth"
)

// model compares a store with the plainest thing that keeps the promises of Issue,
// AddCode, Redeem, Rotate, Revoke, Token, Access and Purge, through any sequence of
// calls while time goes on.
func model(t *testing.T, b *bench) {
	clients := []oauth.Client{b.unbounded(), b.unbounded()}
	owners := map[int64]oauth.User{}
	for _, c := range clients {
		u, err := b.User(t.Context(), c.OwnerID)
		if err != nil {
			t.Fatal(err)
		}
		owners[u.ID] = u
	}
	rapid.Check(t, func(t *rapid.T) {
		w := &walk{T: t, b: b, clients: clients, m: plain{now: asStored(start()), users: owners}}
		steps := map[string]func(){
			"issue": w.issue, "code": w.code, "redeem": w.redeem, "rotate": w.rotate,
			"revoke": w.revoke, "purge": w.purge, "wait": w.wait,
		}
		names := rapid.SampledFrom([]string{"issue", "code", "redeem", "redeem", "rotate", "rotate", "rotate", "revoke", "purge", "wait"})
		for _, name := range append([]string{"issue", "code"}, rapid.SliceOfN(names, 4, 20).Draw(t, "steps")...) {
			steps[name]()
			w.look()
		}
	})
}

// walk is one sequence of calls, of the store and of the model.
type walk struct {
	*rapid.T
	b       *bench
	clients []oauth.Client
	m       plain
}

func (w *walk) client() oauth.Client { return rapid.SampledFrom(w.clients).Draw(w.T, "client") }

// one in n times it is true.
func (w *walk) one(n int, of string) bool { return rapid.IntRange(1, n).Draw(w.T, of) == n }

func (w *walk) scope() oauth.Scope {
	return rapid.SampledFrom([]oauth.Scope{oauth.Unscoped(), {}, {"a"}, {"a", "b"}}).Draw(w.T, "scope")
}

func (w *walk) sites() []int64 {
	return rapid.SampledFrom([][]int64{nil, {}, {1, 2}}).Draw(w.T, "sites")
}

func (w *walk) end(of string) time.Time {
	return w.m.now.Add(rapid.SampledFrom([]time.Duration{time.Second, 90 * time.Second, time.Hour}).Draw(w.T, of))
}

// agree fails unless the store found what the model did; nil stands for no error.
func (w *walk) agree(want, got any, wantErr, err error) {
	w.Helper()
	if !errors.Is(err, wantErr) {
		w.Fatalf("error %v, want %v", err, wantErr)
	}
	if diff := cmp.Diff(want, got, exact()); diff != "" {
		w.Fatalf("(-want +got)\n%s", diff)
	}
}

func (w *walk) wait() {
	w.m.now = w.m.now.Add(rapid.SampledFrom([]time.Duration{time.Microsecond, time.Second, grace, time.Hour}).Draw(w.T, "for"))
}

func (w *walk) issue() {
	c := w.client()
	i := oauth.Issuance{
		ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantPassword, Scope: w.scope(), Sites: w.sites(),
		Access: w.b.hash(), Refresh: w.b.hash(), Now: w.m.now,
		AccessExpiresAt: w.end("access"), RefreshExpiresAt: w.end("refresh"),
	}
	if len(w.m.refresh) > 0 && w.one(4, "own") {
		i.UserID, i.Refresh = 0, oauth.Hash{}
	}
	new, err := w.b.Issue(w.b.t.Context(), i)
	w.agree(oauth.Tally{}, new.Tally, nil, err)
	w.m.issue(new.ID, i)
}

func (w *walk) code() {
	c := w.b.newCode(w.client())
	c.Scope, c.Sites, c.Now, c.ExpiresAt = w.scope(), w.sites(), w.m.now, w.end("code")
	if w.one(2, "plain") {
		c.Challenge = ""
	}
	w.agree(nil, nil, nil, w.b.AddCode(w.b.t.Context(), c))
	w.m.codes = append(w.m.codes, &code{Code: c})
}

func (w *walk) redeem() {
	if len(w.m.codes) == 0 {
		return
	}
	c := rapid.SampledFrom(w.m.codes).Draw(w.T, "code")
	r := w.b.redemption(c.Code, w.m.now)
	r.AccessExpiresAt, r.RefreshExpiresAt = w.end("access"), w.end("refresh")
	if w.one(6, "elsewhere") {
		r.RedirectURI = rapid.SampledFrom([]string{"", callback + "?"}).Draw(w.T, "redirect_uri")
	}
	if w.one(6, "verifier") {
		r.Challenge = rapid.SampledFrom([]string{"", "other", challenge}).Draw(w.T, "challenge")
	}
	if w.one(6, "by") {
		r.ClientID = w.client().ID
	}
	got, err := w.b.Redeem(w.b.t.Context(), r)
	want, wantErr := w.m.redeem(c, r, got.GrantID)
	w.agree(want, got, wantErr, err)
}

func (w *walk) rotate() {
	old := rapid.SampledFrom(w.m.refresh).Draw(w.T, "token")
	r := oauth.Rotation{
		ClientID: old.grant.ClientID, Old: old.hash,
		Nonce: w.b.nonce(), Access: w.b.hash(), Refresh: w.b.hash(), Scope: w.scope(), Now: w.m.now,
		AccessExpiresAt: w.end("access"), RefreshExpiresAt: w.end("refresh"),
		Grace: grace,
	}
	if w.one(10, "by") {
		r.ClientID = w.client().ID
	}
	want, wantErr := w.m.rotate(r)
	got, err := w.b.Rotate(w.b.t.Context(), r)
	w.agree(want, got, wantErr, err)
}

func (w *walk) revoke() {
	t := rapid.SampledFrom(slices.Concat(w.m.access, w.m.refresh)).Draw(w.T, "token")
	id := t.grant.ClientID
	if w.one(4, "by") {
		id = w.client().ID
	}
	w.m.revoke(id, t)
	w.agree(nil, nil, nil, w.b.Revoke(w.b.t.Context(), id, t.hash, w.m.now))
}

// purge changes no answer but that of expired codes, which are not asked for again.
func (w *walk) purge() {
	w.m.codes = slices.DeleteFunc(w.m.codes, func(c *code) bool { return c.ExpiresAt.Before(w.m.now) })
	_, err := w.b.Purge(w.b.t.Context(), w.m.now, rapid.IntRange(0, 3).Draw(w.T, "limit"))
	w.agree(nil, nil, nil, err)
}

// look looks at one of the tokens.
func (w *walk) look() {
	t := rapid.SampledFrom(slices.Concat(w.m.access, w.m.refresh)).Draw(w.T, "look")
	wantToken, wantErr := w.m.token(t)
	token, err := w.b.Token(w.b.t.Context(), t.hash, w.m.now)
	w.agree(wantToken, token, wantErr, err)

	wantAccess, wantErr := w.m.stands(t, w.clients)
	access, err := w.b.Access(w.b.t.Context(), t.hash, w.m.now)
	w.agree(wantAccess, access, wantErr, err)
}

// plain is the record of codes and tokens.
type plain struct {
	now             time.Time
	users           map[int64]oauth.User
	codes           []*code
	access, refresh []*token
}

type code struct {
	oauth.Code
	gave *grant
}

type token struct {
	use                 oauth.Use
	hash                oauth.Hash
	grant               *grant
	scope               oauth.Scope
	issuedAt, expiresAt time.Time
	ended               bool

	// Of a spent refresh token:
	usedAt    time.Time
	nonce     oauth.Nonce
	pair      *token // the access token of its successor pair
	successor *token // the refresh token
}

type grant struct {
	oauth.Issuance
	id      int64
	revoked bool
}

func (p *plain) issue(id int64, i oauth.Issuance) *grant {
	g := &grant{Issuance: i, id: id}
	p.give(oauth.UseAccess, g, i.Access, i.Scope, i.AccessExpiresAt)
	if i.Refresh != (oauth.Hash{}) {
		p.give(oauth.UseRefresh, g, i.Refresh, i.Scope, i.RefreshExpiresAt)
	}
	return g
}

func (p *plain) give(use oauth.Use, g *grant, hash oauth.Hash, scope oauth.Scope, ends time.Time) *token {
	t := &token{use: use, hash: hash, grant: g, scope: scope, issuedAt: p.now, expiresAt: ends}
	if use == oauth.UseAccess {
		p.access = append(p.access, t)
	} else {
		p.refresh = append(p.refresh, t)
	}
	return t
}

func (p *plain) alive(t *token) bool { return t.expiresAt.After(p.now) && !t.grant.revoked && !t.ended }

// redeem gives grantID to the grant, if there is one.
func (p *plain) redeem(c *code, r oauth.Redemption, grantID int64) (oauth.Redeemed, error) {
	sameURI := r.RedirectURI == c.RedirectURI || r.RedirectURI == "" && c.Challenge != ""
	switch {
	case r.ClientID != c.ClientID, !sameURI, r.Challenge != c.Challenge:
		return oauth.Redeemed{}, oauth.ErrNotFound
	case c.gave != nil:
		c.gave.revoked = true
		return oauth.Redeemed{}, oauth.ErrSpent
	case !c.ExpiresAt.After(p.now):
		return oauth.Redeemed{}, oauth.ErrNotFound
	}
	c.gave = p.issue(grantID, oauth.Issuance{
		ClientID: c.ClientID, UserID: c.UserID, Scope: c.Scope, Sites: c.Sites,
		Access: r.Access, AccessExpiresAt: r.AccessExpiresAt, Refresh: r.Refresh, RefreshExpiresAt: r.RefreshExpiresAt,
	})
	return oauth.Redeemed{GrantID: grantID, UserID: c.UserID, Scope: c.Scope, Sites: c.Sites}, nil
}

func (p *plain) rotate(r oauth.Rotation) (oauth.Rotated, error) {
	var old *token
	for _, t := range p.refresh {
		if t.hash == r.Old && p.alive(t) && t.grant.ClientID == r.ClientID {
			old = t
		}
	}
	if old == nil {
		return oauth.Rotated{}, oauth.ErrNotFound
	}
	result := oauth.Rotated{GrantID: old.grant.id, UserID: old.grant.UserID}
	switch {
	case old.successor == nil:
		old.usedAt, old.nonce = r.Now, r.Nonce
		scope := r.Scope
		if scope == nil {
			scope = old.grant.Scope
		}
		old.pair = p.give(oauth.UseAccess, old.grant, r.Access, scope, r.AccessExpiresAt)
		old.successor = p.give(oauth.UseRefresh, old.grant, r.Refresh, old.grant.Scope, r.RefreshExpiresAt)
		result.Outcome = oauth.Rotate
	case r.Now.Sub(old.usedAt) < r.Grace && old.successor.successor == nil:
		result.Outcome = oauth.Replay
	default:
		old.grant.revoked = true
		result.Outcome = oauth.Reuse
		return result, nil
	}
	result.Nonce, result.ExpiresAt, result.Scope = old.nonce, old.pair.expiresAt, old.pair.scope
	return result, nil
}

func (p *plain) revoke(clientID string, t *token) {
	if !p.alive(t) || t.successor != nil || t.grant.ClientID != clientID {
		return
	}
	if t.use == oauth.UseRefresh {
		t.grant.revoked = true
	} else {
		t.ended = true
	}
}

func (p *plain) token(t *token) (oauth.Token, error) {
	if !p.alive(t) || t.successor != nil {
		return oauth.Token{}, oauth.ErrNotFound
	}
	return oauth.Token{
		Use: t.use, GrantID: t.grant.id, ClientID: t.grant.ClientID,
		UserID: t.grant.UserID, UserEmail: p.users[t.grant.UserID].Email,
		Scope: t.scope, IssuedAt: t.issuedAt, ExpiresAt: t.expiresAt,
	}, nil
}

// stands is what an access token stands for.
func (p *plain) stands(t *token, clients []oauth.Client) (oauth.Access, error) {
	if !p.alive(t) || t.use != oauth.UseAccess {
		return oauth.Access{}, oauth.ErrNotFound
	}
	client := slices.IndexFunc(clients, func(c oauth.Client) bool { return c.ID == t.grant.ClientID })
	user := p.users[t.grant.UserID]
	return oauth.Access{
		GrantID: t.grant.id, ClientID: t.grant.ClientID, ClientName: clients[client].Name,
		UserID: user.ID, UserName: user.Name, UserEmail: user.Email,
		Scope: t.scope, Sites: t.grant.Sites, ExpiresAt: t.expiresAt,
	}, nil
}
