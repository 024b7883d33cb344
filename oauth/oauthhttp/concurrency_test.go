package oauthhttp_test

import (
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whether a refresh comes before a revocation or after it, nothing of the family is
// alive afterwards.
func TestASecondRefreshOfAFamilyRevokedMeanwhileFails(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *server) {
		t.Helper()
		app := s.commercial(t)
		refresh := func(token string) (int, answer) {
			w := s.post(form, url.Values{
				"grant_type": {"refresh_token"}, "client_id": {app.ID}, "client_secret": {app.secret}, "refresh_token": {token},
			}.Encode())
			return w.Code, decoded(t, w)
		}
		for range 20 {
			first := s.issue(t, app)
			status, second := refresh(first.RefreshToken)
			require.Equal(t, http.StatusOK, status)
			var third answer
			var all sync.WaitGroup
			all.Go(func() { _, third = refresh(second.RefreshToken) })
			all.Go(func() { s.revoke(app, second.RefreshToken) })
			all.Wait()
			if third.RefreshToken != "" {
				// The refresh came first, and the revoked token was spent by then: it ends
				// nothing (RFC 7009 section 2.2), and the family goes on until it is revoked.
				s.revoke(app, third.RefreshToken)
			}
			for _, token := range []string{first.RefreshToken, second.RefreshToken, third.RefreshToken} {
				status, got := refresh(token)
				require.Equal(t, http.StatusBadRequest, status)
				require.Contains(t, []string{"invalid_grant", "invalid_request"}, got.Error)
			}
			for _, token := range []string{first.AccessToken, second.AccessToken, third.AccessToken} {
				_, err := s.caller(token)
				require.Error(t, err)
			}
		}
	})
}
