package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/oauth"
)

// Every answer to a request for tokens tells how many wasteful ones are left, and the
// refusals of an application that is switched off tell what it has overdrawn.
func TestTokenAnswersTellTheBudgetOfWastefulTokens(t *testing.T) {
	t.Parallel()
	f := newFront(t, func(c *config.Config) { c.IssuanceHour, c.IssuanceDay, c.LimitTokenPersonal = 3, 10, 0 })
	ask := func(c client) *httptest.ResponseRecorder {
		return f.tokenRequest(c, url.Values{"grant_type": {"password"}, "username": {aliceEmail}, "password": {alicePassword}})
	}
	const quotas = `"wasted-hour";q=3;w=3600, "wasted-day";q=10;w=86400`
	first := ask(f.personal)
	require.Equal(t, http.StatusOK, first.Code, first.Body)
	require.Equal(t, quotas, first.Header().Get("RateLimit-Policy"))
	require.Equal(t, `"wasted-hour";r=3;t=0, "wasted-day";r=10;t=0`, first.Header().Get("RateLimit"))
	for used := 1; used <= 3; used++ {
		w := ask(f.personal)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.Equal(t, quotas, w.Header().Get("RateLimit-Policy"))
		require.Equal(t, fmt.Sprintf(`"wasted-hour";r=%d;t=3600, "wasted-day";r=%d;t=86400`, 3-used, 10-used), w.Header().Get("RateLimit"))
	}
	refresh := func(token string) *httptest.ResponseRecorder {
		return f.tokenRequest(f.personal, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	}
	_, err := f.record.OAuth.SwitchOff(t.Context(), f.personal.id, oauth.ByAlert, "", "for a fresh start")
	require.NoError(t, err)
	_, err = f.record.OAuth.Reactivate(t.Context(), f.personal.id, oauth.ByOperator, "", "")
	require.NoError(t, err)
	var tokens struct {
		RefreshToken string `json:"refresh_token"`
	}
	require.NoError(t, json.Unmarshal(first.Body.Bytes(), &tokens))
	w := refresh(tokens.RefreshToken)
	const once = `"wasted-hour";r=2;t=3600, "wasted-day";r=9;t=86400`
	require.Equal(t, once, w.Header().Get("RateLimit"), w.Body)
	again := refresh(tokens.RefreshToken)
	require.Equal(t, http.StatusOK, again.Code, again.Body)
	require.Equal(t, quotas, again.Header().Get("RateLimit-Policy"))
	require.Equal(t, once, again.Header().Get("RateLimit"), "a repeat wastes nothing, and tells how it stands")
	for range 2 {
		require.Equal(t, http.StatusOK, ask(f.personal).Code)
	}
	crossing := ask(f.personal)
	require.Equal(t, http.StatusBadRequest, crossing.Code)
	require.Contains(t, crossing.Body.String(), `"error":"unauthorized_client"`)
	f.now = f.now.Add(10 * time.Minute)
	for _, off := range []*httptest.ResponseRecorder{crossing, ask(f.personal)} {
		require.Equal(t, http.StatusBadRequest, off.Code)
		require.Equal(t, `"wasted-hour";q=3;w=3600`, off.Header().Get("RateLimit-Policy"), "what it was switched off for")
		require.Equal(t, `"wasted-hour";r=0`, off.Header().Get("RateLimit"), "no time brings it back")
	}

	own, err := f.record.OAuth.Reactivate(t.Context(), f.personal.id, oauth.ByOperator, "", "")
	require.NoError(t, err)
	require.True(t, own)
	require.Contains(t, ask(f.personal).Header().Get("RateLimit"), `"wasted-hour";r=2;t=3600`, "what went before is forgiven, and this one is wasteful too")

	stranger := f.personal
	stranger.secret = f.business.secret
	require.NotContains(t, ask(stranger).Header().Get("RateLimit"), "wasted")
	business := f.tokenRequest(f.business, url.Values{"grant_type": {"client_credentials"}})
	require.Equal(t, http.StatusOK, business.Code, business.Body)
	require.NotContains(t, business.Header().Get("RateLimit"), "wasted", "a commercial one has no such budget")
}
