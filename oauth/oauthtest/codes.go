package oauthtest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

const (
	callback  = "https://app.example/callback"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // of RFC 7636, appendix B
	codeLife  = 30 * time.Second
)

// newCode is a code with PKCE that is yet to be added.
func (b *bench) newCode(c oauth.Client) oauth.Code {
	return oauth.Code{
		Hash: b.hash(), Ticket: b.hash(), ClientID: c.ID, UserID: c.OwnerID,
		RedirectURI: callback, Challenge: challenge,
		Scope: oauth.NewScope("gate.operate", "gate.read"), Sites: []int64{7, 3},
		Now: start(), ExpiresAt: start().Add(codeLife),
	}
}

func (b *bench) code(c oauth.Client) oauth.Code {
	b.t.Helper()
	code := b.newCode(c)
	require.NoError(b.t, b.AddCode(b.t.Context(), code))
	return code
}

// redemption asks to spend a code as its client should.
func (b *bench) redemption(c oauth.Code, now time.Time) oauth.Redemption {
	return oauth.Redemption{
		Code: c.Hash, ClientID: c.ClientID, RedirectURI: c.RedirectURI, Challenge: c.Challenge,
		Access: b.hash(), Refresh: b.hash(), Now: now,
		AccessExpiresAt: now.Add(accessLife), RefreshExpiresAt: now.Add(refreshLife),
	}
}

// redeem spends a code for a family of tokens.
func (b *bench) redeem(c oauth.Code, now time.Time) family {
	b.t.Helper()
	return b.redeems(c, b.redemption(c, now))
}

// redeems checks that r spends c.
func (b *bench) redeems(c oauth.Code, r oauth.Redemption) family {
	b.t.Helper()
	got, err := b.Redeem(b.t.Context(), r)
	require.NoError(b.t, err)
	require.Positive(b.t, got.GrantID)
	equal(b.t, oauth.Redeemed{GrantID: got.GrantID, UserID: c.UserID, Scope: c.Scope, Sites: c.Sites}, got)
	return family{oauth.Issuance{
		ClientID: c.ClientID, UserID: c.UserID, GrantType: oauth.GrantCode, Scope: c.Scope, Sites: c.Sites,
		Access: r.Access, Refresh: r.Refresh, Now: r.Now,
		AccessExpiresAt: r.AccessExpiresAt, RefreshExpiresAt: r.RefreshExpiresAt,
	}, got.GrantID}
}

// notRedeemed checks that r is refused so, and that its tokens do not work.
func (b *bench) notRedeemed(r oauth.Redemption, want error) {
	b.t.Helper()
	got, err := b.Redeem(b.t.Context(), r)
	require.ErrorIs(b.t, err, want)
	require.Zero(b.t, got)
	b.noAccess(r.Access, r.Now)
	b.noToken(r.Refresh, r.Now)
}

// codeAndBack adds and spends a code.
func (b *bench) codeAndBack(c oauth.Client) error {
	code := b.newCode(c)
	if err := b.AddCode(b.t.Context(), code); err != nil {
		return err
	}
	return second(b.Redeem(b.t.Context(), b.redemption(code, start())))
}

func codes() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"takes each ticket once": func(t *testing.T, b *bench) {
			client := b.commercial()
			first := b.code(client)
			repeat := b.newCode(client)
			repeat.Ticket = first.Ticket
			require.ErrorIs(t, b.AddCode(t.Context(), repeat), oauth.ErrExists)
			b.notRedeemed(b.redemption(repeat, start()), oauth.ErrNotFound)
			b.redeem(first, start())
			require.ErrorIs(t, b.AddCode(t.Context(), repeat), oauth.ErrExists, "spent or not")
			late := repeat
			late.Now, late.ExpiresAt = start().Add(time.Hour), start().Add(time.Hour+codeLife)
			require.ErrorIs(t, b.AddCode(t.Context(), late), oauth.ErrExists, "expired or not")
		},
		"with one ticket, by many at once: one is added": func(t *testing.T, b *bench) {
			client, ticket := b.commercial(), b.hash()
			var added atomic.Int32
			together(20, func(int) {
				c := b.newCode(client)
				c.Ticket = ticket
				err := b.AddCode(t.Context(), c)
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, oauth.ErrExists) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, added.Load())
		},
		"takes each code once": func(t *testing.T, b *bench) {
			first := b.code(b.commercial())
			same := b.newCode(b.commercial())
			same.Hash = first.Hash
			require.ErrorIs(t, b.AddCode(t.Context(), same), oauth.ErrExists)
			b.notRedeemed(b.redemption(same, start()), oauth.ErrNotFound)
			b.redeem(first, start())
		},
		"needs a client and a user": func(t *testing.T, b *bench) {
			client := b.commercial()
			noClient, noUser := b.newCode(client), b.newCode(client)
			noClient.ClientID = "unknown"
			noUser.UserID++
			for _, c := range []oauth.Code{noClient, noUser} {
				require.ErrorIs(t, b.AddCode(t.Context(), c), oauth.ErrNotFound)
				b.notRedeemed(b.redemption(c, start()), oauth.ErrNotFound)
			}
		},
		"does not keep what is no text": func(t *testing.T, b *bench) {
			client := b.commercial()
			for name, text := range unstorable() {
				for _, c := range []oauth.Code{
					{RedirectURI: text}, {Challenge: text}, {Scope: oauth.Scope{text}},
				} {
					c.Hash, c.Ticket, c.ClientID, c.UserID = b.hash(), b.hash(), client.ID, client.OwnerID
					err := b.AddCode(t.Context(), c)
					require.Error(t, err, name)
					require.NotErrorIs(t, err, oauth.ErrExists, name)
				}
			}
		},
	}
}

func redemptions() map[string]func(*testing.T, *bench) {
	now := start().Add(time.Second)
	return map[string]func(*testing.T, *bench){
		"gives a pair that works, for what the person allowed": func(t *testing.T, b *bench) {
			client := b.commercial()
			code := b.newCode(client)
			person := b.user() // not the client's owner
			code.UserID = person.ID
			require.NoError(t, b.AddCode(t.Context(), code))
			f := b.redeem(code, now)
			got, err := b.Access(t.Context(), f.Access, now)
			require.NoError(t, err)
			equal(t, oauth.Access{
				GrantID: f.GrantID, ClientID: client.ID, ClientName: client.Name,
				UserID: person.ID, UserName: person.Name, UserEmail: person.Email,
				Scope: code.Scope, Sites: code.Sites, ExpiresAt: asStored(f.AccessExpiresAt),
			}, got)
			b.rotate(f, f.Refresh, now)
		},
		"keeps scope and sites as they were": func(t *testing.T, b *bench) {
			client := b.unbounded()
			for _, scope := range []oauth.Scope{oauth.Unscoped(), {}, {"gate.read"}} {
				for _, sites := range [][]int64{nil, {}, {1}, {1 << 62, -1, 1}} {
					code := b.newCode(client)
					code.Scope, code.Sites = scope, sites
					require.NoError(t, b.AddCode(t.Context(), code))
					f := b.redeem(code, now)
					got, err := b.Access(t.Context(), f.Access, now)
					require.NoError(t, err)
					equal(t, scope, got.Scope)
					equal(t, sites, got.Sites)
				}
			}
		},
		"knows its codes only": func(_ *testing.T, b *bench) {
			code := b.code(b.commercial())
			for _, hash := range []oauth.Hash{b.hash(), {}, code.Ticket} {
				r := b.redemption(code, now)
				r.Code = hash
				b.notRedeemed(r, oauth.ErrNotFound)
			}
			b.redeem(code, now)
		},
		"does not know what is not as it was asked for, and leaves it alone": func(t *testing.T, b *bench) {
			client, other := b.commercial(), b.commercial()
			for _, pkce := range []string{challenge, ""} {
				wrong := map[string]func(r *oauth.Redemption){
					"other client":             func(r *oauth.Redemption) { r.ClientID = other.ID },
					"unknown client":           func(r *oauth.Redemption) { r.ClientID = "" },
					"other redirect_uri":       func(r *oauth.Redemption) { r.RedirectURI = client.RedirectURIs[1] },
					"longer redirect_uri":      func(r *oauth.Redemption) { r.RedirectURI += "/" },
					"redirect_uri, other case": func(r *oauth.Redemption) { r.RedirectURI = "https://app.example/Callback" },
					"other challenge":          func(r *oauth.Redemption) { r.Challenge = challenge[1:] + challenge[:1] },
				}
				for name, text := range unstorable() {
					wrong["client: "+name] = func(r *oauth.Redemption) { r.ClientID = text }
					wrong["redirect_uri: "+name] = func(r *oauth.Redemption) { r.RedirectURI = text }
					wrong["challenge: "+name] = func(r *oauth.Redemption) { r.Challenge = text }
				}
				if pkce == "" {
					wrong["challenge that was not sent"] = func(r *oauth.Redemption) { r.Challenge = challenge }
					wrong["no redirect_uri"] = func(r *oauth.Redemption) { r.RedirectURI = "" }
				} else {
					wrong["no challenge"] = func(r *oauth.Redemption) { r.Challenge = "" }
					wrong["neither redirect_uri nor challenge"] = func(r *oauth.Redemption) { r.RedirectURI, r.Challenge = "", "" }
				}
				for name, change := range wrong {
					code := b.newCode(client)
					code.Challenge = pkce
					require.NoError(t, b.AddCode(t.Context(), code), name)
					r := b.redemption(code, now)
					change(&r)
					b.notRedeemed(r, oauth.ErrNotFound)
					f := b.redeem(code, now)
					b.notRedeemed(r, oauth.ErrNotFound)
					b.access(f.Access, now)
					b.rotate(f, f.Refresh, now)
				}
			}
		},
		"needs no redirect_uri with a challenge": func(_ *testing.T, b *bench) {
			code := b.code(b.commercial())
			r := b.redemption(code, now)
			r.RedirectURI = ""
			f := b.redeems(code, r)
			b.notRedeemed(r, oauth.ErrSpent)
			b.isDead(f, now)
		},
		"does not know expired codes": func(_ *testing.T, b *bench) {
			client := b.commercial()
			code, last := b.code(client), b.code(client)
			end := asStored(code.ExpiresAt)
			b.notRedeemed(b.redemption(code, end), oauth.ErrNotFound)
			b.notRedeemed(b.redemption(code, end.Add(time.Hour)), oauth.ErrNotFound)
			b.redeem(last, end.Add(-time.Microsecond))
		},
		"of a spent code revokes what it gave": func(_ *testing.T, b *bench) {
			client := b.commercial()
			code, other := b.code(client), b.code(client)
			f, untouched := b.redeem(code, now), b.redeem(other, now)
			rotated := b.rotate(f, f.Refresh, now)
			for range 2 {
				b.notRedeemed(b.redemption(code, now), oauth.ErrSpent)
			}
			b.isDead(f, now, rotated.Access)
			b.notRotated(b.rotation(f, f.Refresh, now))
			b.notRotated(b.rotation(f, rotated.Refresh, now))
			b.noToken(rotated.Refresh, now)
			b.access(untouched.Access, now)
			b.rotate(untouched, untouched.Refresh, now)
		},
		"of a code that was spent and has expired revokes too": func(_ *testing.T, b *bench) {
			code := b.code(b.commercial())
			f := b.redeem(code, now)
			late := now.Add(accessLife / 2)
			b.access(f.Access, late)
			b.notRedeemed(b.redemption(code, late), oauth.ErrSpent)
			b.isDead(f, late)
			b.notRotated(b.rotation(f, f.Refresh, late))
		},
		"refuses tokens that exist, and leaves the code unspent": func(t *testing.T, b *bench) {
			f, code := b.issue(), b.code(b.commercial())
			sameAccess, sameRefresh := b.redemption(code, now), b.redemption(code, now)
			sameAccess.Access, sameRefresh.Refresh = f.Access, f.Refresh
			for _, r := range []oauth.Redemption{sameAccess, sameRefresh} {
				_, err := b.Redeem(t.Context(), r)
				require.ErrorIs(t, err, oauth.ErrExists)
			}
			b.noAccess(sameRefresh.Access, now)
			b.noToken(sameAccess.Refresh, now)
			b.access(f.Access, now)
			b.redeem(code, now)
		},
		"by many at once: one wins, and the others end what it got": func(t *testing.T, b *bench) {
			const callers = 100
			code := b.code(b.commercial())
			var asked [callers]oauth.Redemption
			for i := range asked {
				asked[i] = b.redemption(code, now)
			}
			var won atomic.Int32
			together(callers, func(i int) {
				_, err := b.Redeem(t.Context(), asked[i])
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, oauth.ErrSpent) {
					t.Error(err)
				}
			})
			require.EqualValues(t, 1, won.Load())
			for _, r := range asked {
				b.noAccess(r.Access, now)
				b.noToken(r.Refresh, now)
			}
		},
		"by two at once: the second one always ends what the first one got": func(t *testing.T, b *bench) {
			client := b.commercial()
			for range 20 {
				code := b.code(client)
				asked := [2]oauth.Redemption{b.redemption(code, now), b.redemption(code, now)}
				var errs [2]error
				together(2, func(i int) { _, errs[i] = b.Redeem(t.Context(), asked[i]) })
				if errs[0] == nil {
					errs[0], errs[1] = errs[1], errs[0]
				}
				require.ErrorIs(t, errs[0], oauth.ErrSpent)
				require.NoError(t, errs[1])
				b.noAccess(asked[0].Access, now)
				b.noAccess(asked[1].Access, now)
			}
		},
		"by many at once, of which only one knows the verifier: it wins and keeps": func(t *testing.T, b *bench) {
			code := b.code(b.commercial())
			right := b.redemption(code, now)
			together(20, func(i int) {
				r := right
				if i > 0 {
					r = b.redemption(code, now)
					r.Challenge = ""
				}
				_, err := b.Redeem(t.Context(), r)
				if (i == 0) != (err == nil) || err != nil && !errors.Is(err, oauth.ErrNotFound) {
					t.Errorf("caller %d: %v", i, err)
				}
			})
			b.access(right.Access, now)
		},
		"beside a refresh of what it gave leaves nothing alive": func(t *testing.T, b *bench) {
			client := b.commercial()
			for range 10 {
				code := b.code(client)
				f := b.redeem(code, now)
				r := b.rotation(f, f.Refresh, now)
				together(2, func(i int) {
					var err error
					if i == 0 {
						_, err = b.Redeem(t.Context(), b.redemption(code, now))
						if !errors.Is(err, oauth.ErrSpent) {
							t.Error(err)
						}
						return
					}
					if _, err = b.Rotate(t.Context(), r); err != nil && !errors.Is(err, oauth.ErrNotFound) {
						t.Error(err)
					}
				})
				b.isDead(f, now, r.Access)
				b.notRotated(b.rotation(f, r.Refresh, now))
			}
		},
	}
}
