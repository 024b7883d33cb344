package oauthhttp

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/oauth"
)

func parsed(t require.TestingT, contentType, body string) oauth.TokenRequest {
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	req, refusal := parseTokenRequest(httptest.NewRecorder(), r)
	require.Nil(t, refusal)
	return req
}

// Whatever the values are, the three forms of a body mean the same.
func TestTheFormsOfABodyMeanTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return r != 0 && r != '\uFFFD' }), 0, 40, -1)
		want := oauth.TokenRequest{
			ClientID: value.Draw(t, "client_id"), ClientSecret: value.Draw(t, "client_secret"),
			GrantType: value.Draw(t, "grant_type"), RefreshToken: value.Draw(t, "refresh_token"),
			Username: value.Draw(t, "username"), Password: value.Draw(t, "password"),
			Code: value.Draw(t, "code"), RedirectURI: value.Draw(t, "redirect_uri"),
			CodeVerifier: value.Draw(t, "code_verifier"), Scope: value.Draw(t, "scope"),
		}
		fields := map[string]string{
			"client_id": want.ClientID, "client_secret": want.ClientSecret, "grant_type": want.GrantType,
			"refresh_token": want.RefreshToken, "username": want.Username, "password": want.Password,
			"code": want.Code, "redirect_uri": want.RedirectURI, "code_verifier": want.CodeVerifier, "scope": want.Scope,
		}
		form := url.Values{}
		var parts bytes.Buffer
		multi := multipart.NewWriter(&parts)
		for name, value := range fields {
			form.Set(name, value)
			require.NoError(t, multi.WriteField(name, value))
		}
		require.NoError(t, multi.Close())
		object, err := json.Marshal(fields)
		require.NoError(t, err)

		require.Equal(t, want, parsed(t, mediaForm, form.Encode()))
		require.Equal(t, want, parsed(t, multi.FormDataContentType(), parts.String()))
		require.Equal(t, want, parsed(t, mediaJSON, string(object)))
	})
}
