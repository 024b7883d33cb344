// Package oauthtest is the conformance suite of oauth.Store: what the interface
// promises, as tests that every store passes.
package oauthtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// Run runs the suite. open returns an empty store, which lives as long as its t.
// The tests of the suite are parallel.
func Run(t *testing.T, open func(t testing.TB) oauth.Store) {
	for _, subject := range []struct {
		name  string
		tests map[string]func(*testing.T, *bench)
	}{
		{"Users", users()},
		{"Clients", clients()},
		{"Decide", decisions()},
		{"Secrets", secrets()},
		{"Issue", issues()},
		{"AddCode", codes()},
		{"Redeem", redemptions()},
		{"Rotate", rotations()},
		{"Scope", scopes()},
		{"Token", tokens()},
		{"Revoke", revocations()},
		{"Access", accesses()},
		{"Owned", owned()},
		{"Edits", edits()},
		{"Deleted", deletions()},
		{"Devices", devices()},
		{"Implicit", implicits()},
		{"Connected", connections()},
		{"Sessions", sessions()},
		{"Changes", changes()},
		{"Notes", notes()},
		{"ChangePassword", passwordChanges()},
		{"Accounts", accounts()},
		{"Browsers", browsers()},
		{"AppPasswords", appPasswords()},
		{"Requests", requests()},
		{"Uses", grantUses()},
		{"AccountContexts", accountContexts()},
		{"Factors", factors()},
		{"FactorUses", factorUses()},
		{"Tries", tries()},
		{"Failures", failures()},
		{"Purge", purges()},
		{"Wasteful", wasteful()},
		{"Switch", switches()},
		{"Episode", episodes()},
		{"Interventions", interventions()},
		{"Notices", notices()},
		{"Links", links()},
		{"ConnectionEvents", connectionEvents()},
		{"Condense", condensations()},
		{"Disabled", disablings()},
		{"Context", contexts()},
		{"Model", map[string]func(*testing.T, *bench){"agrees": model}},
	} {
		t.Run(subject.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range subject.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, &bench{t: t, Store: open(t)})
				})
			}
		})
	}
}

// start is when the tests begin. It is not in UTC, and finer than a store is.
func start() time.Time {
	return time.Date(2026, 3, 1, 0, 30, 0, 123456789, time.FixedZone("CET", 3600))
}

// asStored is the form in which a store returns a time.
func asStored(at time.Time) time.Time { return at.UTC().Truncate(time.Microsecond) }

// bench is a store under test, and what tests of it have in common.
type bench struct {
	oauth.Store
	t    testing.TB
	mu   sync.Mutex
	last int
}

// serial gives numbers that are used once.
func (b *bench) serial() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	return b.last
}

// hash gives a Hash that is used once.
func (b *bench) hash() oauth.Hash { return oauth.HashOf(fmt.Sprint("secret ", b.serial())) }

func (b *bench) nonce() oauth.Nonce { return oauth.Nonce(b.hash()) }

func (b *bench) user() oauth.User {
	b.t.Helper()
	n := b.serial()
	u := oauth.User{
		Email:        fmt.Sprintf("user%d@example.org", n),
		Name:         fmt.Sprint("User ", n),
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
		CreatedAt:    start(),
	}
	id, err := b.AddUser(b.t.Context(), u)
	require.NoError(b.t, err)
	u.ID = id
	return u
}

// client adds a personal application.
func (b *bench) client() oauth.Client {
	b.t.Helper()
	n := b.serial()
	c := oauth.Client{
		ID:        fmt.Sprintf("%032x", n),
		Kind:      oauth.Personal,
		Status:    oauth.Active,
		Name:      fmt.Sprint("App ", n),
		OwnerID:   b.user().ID,
		CreatedAt: start(),
		Secrets:   []oauth.Secret{{Hash: b.hash(), CreatedAt: start()}},
	}
	require.NoError(b.t, b.AddClient(b.t.Context(), c))
	return c
}

// newCommercial is a commercial application that is yet to be added.
func (b *bench) newCommercial() oauth.Client {
	b.t.Helper()
	n := b.serial()
	return oauth.Client{
		ID:           fmt.Sprintf("%032x", n),
		Kind:         oauth.Commercial,
		Status:       oauth.Active,
		Name:         fmt.Sprint("App ", n),
		OwnerID:      b.user().ID,
		CreatedAt:    start(),
		Secrets:      []oauth.Secret{{Hash: b.hash(), CreatedAt: start()}},
		Description:  "Opens the gate.",
		HomePage:     "https://app.example/",
		RedirectURIs: []string{callback, "http://127.0.0.1/back?a=b&c=%22\\"},
		Scope:        oauth.NewScope("gate.operate", "gate.read", "shutter.read"),
	}
}

func (b *bench) commercial() oauth.Client {
	b.t.Helper()
	c := b.newCommercial()
	require.NoError(b.t, b.AddClient(b.t.Context(), c))
	return c
}

// unbounded adds a commercial client that no registration bounds, so that a scope is
// found as it was given.
func (b *bench) unbounded() oauth.Client {
	b.t.Helper()
	c := b.newCommercial()
	c.Scope = oauth.Unscoped()
	require.NoError(b.t, b.AddClient(b.t.Context(), c))
	return c
}

// hasClient checks that want, which was added, is found, and gives it as it is
// stored: with the IDs of its secrets.
func (b *bench) hasClient(want oauth.Client) oauth.Client {
	b.t.Helper()
	got, err := b.Client(b.t.Context(), want.ID)
	require.NoError(b.t, err)
	sameClient(b.t, want, got)
	return got
}

// sameClient compares a client that was added with the one that was found. The IDs of
// the secrets are the store's to give: positive, and each another one.
func sameClient(t testing.TB, want, got oauth.Client) {
	t.Helper()
	want.CreatedAt = asStored(want.CreatedAt)
	want.Secrets = slices.Clone(want.Secrets)
	require.Len(t, got.Secrets, len(want.Secrets))
	ids := map[int64]bool{}
	for i := range want.Secrets {
		s := &want.Secrets[i]
		s.ID, s.CreatedAt = got.Secrets[i].ID, asStored(s.CreatedAt)
		if !s.LastUsedAt.IsZero() {
			s.LastUsedAt = asStored(s.LastUsedAt)
		}
		require.Positive(t, s.ID)
		ids[s.ID] = true
	}
	require.Len(t, ids, len(want.Secrets))
	equal(t, want, got)
}

// Lifetimes of the tokens in the tests.
const (
	accessLife  = time.Hour
	refreshLife = 24 * time.Hour
	grace       = time.Minute
)

// family is a grant with its first pair, as it was issued.
type family struct {
	oauth.Issuance
	GrantID int64
}

// issue issues tokens of a new client to its owner.
func (b *bench) issue() family {
	b.t.Helper()
	c := b.client()
	return b.issueTo(c, start())
}

func (b *bench) issueTo(c oauth.Client, now time.Time) family {
	b.t.Helper()
	return b.issues(oauth.Issuance{
		ClientID: c.ID, UserID: c.OwnerID, GrantType: oauth.GrantPassword,
		Access: b.hash(), Refresh: b.hash(), Now: now,
		AccessExpiresAt: now.Add(accessLife), RefreshExpiresAt: now.Add(refreshLife),
	})
}

// issueScoped issues tokens of a new commercial client for two sites of its owner.
func (b *bench) issueScoped() family {
	b.t.Helper()
	i := b.issueTo(b.commercial(), start()).Issuance
	i.GrantType, i.Access, i.Refresh = oauth.GrantCode, b.hash(), b.hash()
	i.Scope, i.Sites = oauth.NewScope("gate.operate", "gate.read"), []int64{7, 3}
	return b.issues(i)
}

// issueOwn issues an access token to a new commercial client itself.
func (b *bench) issueOwn() family {
	b.t.Helper()
	c := b.commercial()
	return b.issues(oauth.Issuance{
		ClientID: c.ID, GrantType: oauth.GrantClientCredentials, Scope: oauth.NewScope("gate.read"),
		Access: b.hash(), Now: start(), AccessExpiresAt: start().Add(accessLife),
	})
}

func (b *bench) issues(i oauth.Issuance) family {
	b.t.Helper()
	new, err := b.Issue(b.t.Context(), i)
	require.NoError(b.t, err)
	return family{i, new.ID}
}

// rotation asks to spend old, one of f's refresh tokens, for a new pair.
func (b *bench) rotation(f family, old oauth.Hash, now time.Time) oauth.Rotation {
	return oauth.Rotation{
		ClientID: f.ClientID, Old: old, Nonce: b.nonce(),
		Access: b.hash(), Refresh: b.hash(), Now: now,
		AccessExpiresAt: now.Add(accessLife), RefreshExpiresAt: now.Add(refreshLife),
		Grace: grace,
	}
}

// rotate spends old and returns what was asked.
func (b *bench) rotate(f family, old oauth.Hash, now time.Time) oauth.Rotation {
	b.t.Helper()
	r := b.rotation(f, old, now)
	b.rotates(f, r)
	return r
}

func (b *bench) rotates(f family, r oauth.Rotation) {
	b.t.Helper()
	b.finds(r, oauth.Rotated{
		Outcome: oauth.Rotate, GrantID: f.GrantID, UserID: f.UserID,
		Nonce: r.Nonce, ExpiresAt: asStored(r.AccessExpiresAt), Scope: lesser(f, r),
	})
}

// replays checks that r finds what first left.
func (b *bench) replays(f family, r, first oauth.Rotation) {
	b.t.Helper()
	b.finds(r, oauth.Rotated{
		Outcome: oauth.Replay, GrantID: f.GrantID, UserID: f.UserID,
		Nonce: first.Nonce, ExpiresAt: asStored(first.AccessExpiresAt), Scope: lesser(f, first),
	})
	b.noAccess(r.Access, r.Now)
}

// lesser is the scope of the access token that r gives.
func lesser(f family, r oauth.Rotation) oauth.Scope {
	if r.Scope == nil {
		return f.Scope
	}
	return r.Scope
}

func (b *bench) isReuse(f family, r oauth.Rotation) {
	b.t.Helper()
	b.finds(r, oauth.Rotated{Outcome: oauth.Reuse, GrantID: f.GrantID, UserID: f.UserID})
	b.noAccess(r.Access, r.Now)
}

func (b *bench) finds(r oauth.Rotation, want oauth.Rotated) {
	b.t.Helper()
	got, err := b.Rotate(b.t.Context(), r)
	require.NoError(b.t, err)
	equal(b.t, want, got)
}

// notRotated checks that r finds nothing to rotate.
func (b *bench) notRotated(r oauth.Rotation) {
	b.t.Helper()
	got, err := b.Rotate(b.t.Context(), r)
	require.ErrorIs(b.t, err, oauth.ErrNotFound)
	require.Zero(b.t, got)
	b.noAccess(r.Access, r.Now)
}

func (b *bench) access(token oauth.Hash, now time.Time) {
	b.t.Helper()
	_, err := b.Access(b.t.Context(), token, now)
	require.NoError(b.t, err)
}

func (b *bench) noAccess(token oauth.Hash, now time.Time) {
	b.t.Helper()
	got, err := b.Access(b.t.Context(), token, now)
	require.ErrorIs(b.t, err, oauth.ErrNotFound)
	require.Zero(b.t, got)
}

// exact compares times with their location.
func exact() cmp.Option {
	return cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) && a.Location() == b.Location() })
}

func equal(t testing.TB, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, exact()); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

// together calls fn n times at once, and returns when all have returned.
func together(n int, fn func(i int)) {
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			fn(i)
		})
	}
	done.Wait()
}

// longText has 40 kB in several scripts.
func longText() string {
	const sample = "Zoë Čapek, Ωmega, مرحبا, 東京, 👩‍👩‍👧, e\u0301 ' \" \\ % _ ; -- \t\n"
	text := ""
	for len(text) < 40_000 {
		text += sample
	}
	return text
}

// unstorable are texts that no column can hold.
func unstorable() map[string]string {
	return map[string]string{"NUL": "a\x00b", "invalid UTF-8": "a\xffb", "half a surrogate": "a\xed\xa0\x80b"}
}

func contexts() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"that has ended stops every call, and nothing is written": func(t *testing.T, b *bench) {
			f, session := b.issue(), b.session()
			pending := b.newCommercial()
			pending.Status = oauth.Pending
			require.NoError(t, b.AddClient(t.Context(), pending))
			pending = b.hasClient(pending)
			code := b.code(b.commercial())
			before := b.counts()
			ctx := ended(t)
			for name, call := range map[string]func() error{
				"AddUser":     func() error { _, err := b.AddUser(ctx, oauth.User{Email: "a@b", Name: "n"}); return err },
				"UserByEmail": func() error { _, err := b.UserByEmail(ctx, "a@b"); return err },
				"User":        func() error { _, err := b.User(ctx, f.UserID); return err },
				"Users":       func() error { _, err := b.Users(ctx, 0, 1); return err },
				"AddClient":   func() error { return b.AddClient(ctx, oauth.Client{ID: "new", OwnerID: f.UserID}) },
				"Decide":      func() error { return b.Decide(ctx, pending.ID, oauth.Active, "") },
				"AddSecret":   func() error { return b.AddSecret(ctx, pending.ID, oauth.Secret{Hash: b.hash()}) },
				"RemoveSecret": func() error {
					return b.RemoveSecret(ctx, pending.ID, pending.Secrets[0].ID)
				},
				"SwitchOff": func() error {
					_, err := b.SwitchOff(ctx, intervenes(oauth.Client{ID: f.ClientID}, "", start()))
					return err
				},
				"Reactivate": func() error {
					_, err := b.Reactivate(ctx, intervenes(oauth.Client{ID: f.ClientID}, "", start()))
					return err
				},
				"OffBy":            func() error { _, _, err := b.OffBy(ctx, f.ClientID, noon(), 10); return err },
				"OwnReactivations": func() error { return second(b.OwnReactivations(ctx, f.ClientID, noon(), 1)) },
				"OperatorOnly": func() error {
					return second(b.OperatorOnly(ctx, oauth.OperatorOnlyQuery{After: noon(), Limit: 1}))
				},
				"Verdicts":  func() error { _, err := b.Verdicts(ctx, f.ClientID, 0, 1); return err },
				"SetLimits": func() error { return b.SetLimits(ctx, f.ClientID, &oauth.Limits{Hour: 1}) },
				"LimitsOf":  func() error { _, err := b.LimitsOf(ctx, f.ClientID); return err },
				"IssuanceMinutes": func() error {
					_, err := b.IssuanceMinutes(ctx, start(), "", 1)
					return err
				},
				"IssuanceOf":    func() error { _, err := b.IssuanceOf(ctx, f.ClientID, start(), time.Hour); return err },
				"Standing":      func() error { _, err := b.Standing(ctx, f.ClientID, start()); return err },
				"Condense":      func() error { _, err := b.Condense(ctx, start(), start(), 1); return err },
				"SetDisabled":   func() error { return b.SetDisabled(ctx, f.UserID, true, start()) },
				"TouchSecret":   func() error { return b.TouchSecret(ctx, pending.Secrets[0].ID, start()) },
				"Client":        func() error { _, err := b.Client(ctx, f.ClientID); return err },
				"Clients":       func() error { _, err := b.Clients(ctx, "", 1); return err },
				"Issue":         func() error { _, err := b.Issue(ctx, b.again(f)); return err },
				"UpdateClient":  func() error { return b.UpdateClient(ctx, oauth.ClientUpdate{Client: pending}) },
				"HeldEdit":      func() error { return second(b.HeldEdit(ctx, pending.ID)) },
				"HeldEdits":     func() error { return second(b.HeldEdits(ctx, "", 1)) },
				"Review":        func() error { return b.Review(ctx, oauth.Review{ClientID: pending.ID, Approve: true}) },
				"DeleteClient":  func() error { return b.DeleteClient(ctx, pending.ID, start(), oauth.Change{}) },
				"Logo":          func() error { return second(b.Logo(ctx, pending.ID, b.hash())) },
				"AddDeviceCode": func() error { return b.AddDeviceCode(ctx, b.newDeviceCode(pending), 1) },
				"DeviceClient":  func() error { return second(b.DeviceClient(ctx, b.hash(), start())) },
				"AnswerDevice":  func() error { return b.AnswerDevice(ctx, oauth.DeviceAnswer{UserCode: b.hash()}) },
				"PollDevice":    func() error { return second(b.PollDevice(ctx, b.poll(b.newDeviceCode(pending), start()))) },
				"IssueImplicit": func() error { return second(b.IssueImplicit(ctx, b.hash(), b.again(f))) },
				"AddCode":       func() error { return b.AddCode(ctx, b.newCode(pending)) },
				"Redeem":        func() error { _, err := b.Redeem(ctx, b.redemption(code, start())); return err },
				"Rotate":        func() error { _, err := b.Rotate(ctx, b.rotation(f, f.Refresh, start())); return err },
				"Token":         func() error { _, err := b.Token(ctx, f.Refresh, start()); return err },
				"Revoke":        func() error { return b.Revoke(ctx, f.ClientID, f.Refresh, start()) },
				"AddSession":    func() error { return b.AddSession(ctx, oauth.Session{Hash: b.hash(), UserID: f.UserID}) },
				"Session":       func() error { _, err := b.Session(ctx, session.Hash, start()); return err },
				"EndSession":    func() error { return b.EndSession(ctx, session.Hash) },
				"Access":        func() error { _, err := b.Access(ctx, f.Access, start()); return err },
				"Failures":      func() error { _, err := b.Failures(ctx, b.hash(), start()); return err },
				"AddFailure":    func() error { _, err := b.AddFailure(ctx, b.hash(), start(), start()); return err },
				"Purge":         func() error { _, err := b.Purge(ctx, start().Add(100*refreshLife), 100); return err },

				"Factors": func() error { _, err := b.Factors(ctx, f.UserID); return err },
				"AddTOTP": func() error { _, err := b.AddTOTP(ctx, b.newTOTP(f.UserID), nil, oauth.Change{}); return err },
				"AddPasskey": func() error {
					_, err := b.AddPasskey(ctx, b.newPasskey(f.UserID), 9, b.spent(), nil, oauth.Change{})
					return err
				},
				"RemoveTOTP":       func() error { return b.RemoveTOTP(ctx, f.UserID, oauth.Change{}) },
				"RemovePasskey":    func() error { return b.RemovePasskey(ctx, f.UserID, 1, oauth.Change{}) },
				"RemoveFactors":    func() error { _, err := b.RemoveFactors(ctx, f.UserID, oauth.Change{}); return err },
				"SetRecoveryCodes": func() error { return b.SetRecoveryCodes(ctx, f.UserID, nil, oauth.Change{}) },
				"Passkey":          func() error { _, err := b.Passkey(ctx, []byte("id")); return err },
				"AddTry":           func() error { _, _, err := b.AddTry(ctx, b.hash(), start(), start(), 1); return err },
				"UseTOTP":          func() error { return b.UseTOTP(ctx, f.UserID, 1, 1, b.spent(), start()) },
				"UsePasskey":       func() error { return b.UsePasskey(ctx, oauth.Passkey{ID: 1, UserID: f.UserID}, b.spent(), start()) },
				"UseRecoveryCode": func() error {
					_, err := b.UseRecoveryCode(ctx, f.UserID, b.hash(), b.spent(), oauth.Change{})
					return err
				},
			} {
				ctx = ended(t)
				err := call()
				require.ErrorIs(t, err, context.Canceled, name)
				require.NotErrorIs(t, err, oauth.ErrNotFound, name)
				require.NotErrorIs(t, err, oauth.ErrUnavailable, name)
				ctx = late(t)
				require.ErrorIs(t, call(), oauth.ErrUnavailable, name)
			}
			require.Equal(t, before, b.counts())
			b.hasClient(pending)
			b.access(f.Access, start())
			b.rotate(f, f.Refresh, start())
			b.redeem(code, start())
			_, err := b.Session(t.Context(), session.Hash, start())
			require.NoError(t, err)
		},
		"may be shared by calls of all kinds": func(t *testing.T, b *bench) {
			f, key := b.issue(), b.hash()
			c := b.commercial()
			secret := b.hasClient(c).Secrets[0].ID
			together(20, func(i int) {
				for _, err := range []error{
					second(b.AddUser(t.Context(), oauth.User{Email: fmt.Sprint(i), Name: "n", CreatedAt: start()})),
					second(b.User(t.Context(), f.UserID)),
					second(b.Users(t.Context(), 0, 100)),
					b.AddClient(t.Context(), oauth.Client{ID: fmt.Sprint(i), Kind: oauth.Personal, Name: "n", OwnerID: f.UserID, CreatedAt: start()}),
					second(b.Clients(t.Context(), "", 100)),
					b.AddSecret(t.Context(), fmt.Sprint(i), oauth.Secret{Hash: b.hash(), CreatedAt: start()}),
					b.TouchSecret(t.Context(), secret, start()),
					second(b.Issue(t.Context(), b.again(f))),
					second(b.Access(t.Context(), f.Access, start())),
					second(b.Token(t.Context(), f.Access, start())),
					second(b.Rotate(t.Context(), b.rotation(f, f.Refresh, start()))),
					b.codeAndBack(c),
					b.sessionAndBack(f.UserID),
					second(b.AddFailure(t.Context(), key, start(), start().Add(-time.Hour))),
					second(b.Failures(t.Context(), key, start())),
					second(b.Purge(t.Context(), start(), 10)),
				} {
					if err != nil {
						t.Error(err)
					}
				}
			})
		},
	}
}

func second[T any](_ T, err error) error { return err }

// again is an issuance like f's, of new tokens.
func (b *bench) again(f family) oauth.Issuance {
	i := f.Issuance
	i.Access, i.Refresh = b.hash(), b.hash()
	return i
}

// againOwn is an issuance like f's, which has no refresh token.
func (b *bench) againOwn(f family) oauth.Issuance {
	i := f.Issuance
	i.Access = b.hash()
	return i
}

// counts tells how many users and clients there are.
func (b *bench) counts() [2]int {
	b.t.Helper()
	users, err := b.Users(b.t.Context(), 0, 1000)
	require.NoError(b.t, err)
	clients, err := b.Clients(b.t.Context(), "", 1000)
	require.NoError(b.t, err)
	return [2]int{len(users), len(clients)}
}
