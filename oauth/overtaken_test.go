package oauth_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// overtaken is a store in which the password is changed just before anything comes of
// the old one.
type overtaken struct {
	oauth.Store
	change func()
}

func (o overtaken) AddSession(ctx context.Context, s oauth.Session, changes ...oauth.Change) error {
	o.change()
	return o.Store.AddSession(ctx, s, changes...)
}

func (o overtaken) Issue(ctx context.Context, i oauth.Issuance) (oauth.NewGrant, error) {
	o.change()
	return o.Store.Issue(ctx, i)
}

func TestNothingComesOfAPasswordThatIsChangedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, enter := range map[string]func(*server) error{
		"sign-in": func(s *server) error {
			in, err := s.SignIn(t.Context(), s.alice.Email, alicePassword, home())
			require.Zero(t, in)
			return err
		},
		"token of one's own": func(s *server) error {
			tokens, err := s.OwnToken(t.Context(), s.alice, s.aliceClient.ID, alicePassword, home())
			require.Zero(t, tokens)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *server
			s = newServer(t, func(o *oauth.Options) {
				store := o.Store
				o.Store = overtaken{store, func() {
					require.NoError(t, store.ChangePassword(t.Context(), oauth.PasswordChange{
						UserID: s.alice.ID, New: s.alice.PasswordHash + "x", EndTokens: true, Now: s.clock.Now(),
					}))
				}}
			})
			refused(t, enter(s), oauth.CodeInvalidGrant)
		})
	}
}
