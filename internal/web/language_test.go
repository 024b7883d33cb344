package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/web"
)

func TestLanguage(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	tests := []struct {
		accept string
		want   web.Language
	}{
		{"", web.English},
		{"fr", web.French},
		{"fr-CH, en;q=0.9", web.French},
		{"FR-ca", web.French},
		{"en, fr", web.English},
		{"fr, en", web.French},
		{"en;q=0.8, fr;q=0.9", web.French},
		{"en;q=0.8,fr;q=0.801", web.French},
		{"de, fr;q=0.1", web.French},
		{"de", web.English},
		{"*", web.English},
		{"en;q=0, *", web.French},
		{"fr;q=0, *;q=0.1", web.English},
		{"*;q=0.5, fr;q=0.4", web.English},
		{"fr;q=0.5, *;q=0.5", web.French},
		{"fr;q=0", web.English},
		{"fr;q=2, en;q=0.1", web.English},
		{"fr;q=0.1234, en;q=0.01", web.English},
		{"fr;q=1.001, en;q=0.01", web.English},
		{"fr;q=-1, en;q=0.01", web.English},
		{"fr;q=+1, en;q=0.01", web.English},
		{"fr;level=1, en;q=0.01", web.English},
		{"fr ; Q=0.9 , en;q=0.8", web.French},
		{"french", web.English},
		{";;;,,,=", web.English},
		{strings.Repeat("de,", 40) + "fr", web.English},
	}
	for _, test := range tests {
		require.Equal(t, test.want, p.Language(get("/", "Accept-Language", test.accept)), test.accept)
	}
	require.Equal(t, web.French, p.Language(get("/", "Accept-Language", "de", "Accept-Language", "fr")), "lines are one list")
	chosen := get("/", "Accept-Language", "en", "Cookie", "foxbridge-language=fr")
	require.Equal(t, web.French, p.Language(chosen), "a choice comes before what the browser prefers")
	require.Equal(t, web.French, p.Language(get("/", "Accept-Language", "fr", "Cookie", "foxbridge-language=de")))
}

func switchLanguage(p *web.Pages, language, back string, headers ...string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, web.LanguagePath, strings.NewReader(url.Values{"language": {language}, "return": {back}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.LanguageSwitch().ServeHTTP(w, r)
	return w.Result()
}

func TestSwitchOfLanguagesGoesBack(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{Secure: true})
	answer := switchLanguage(p, "fr", "/oauth2/authorize?client_id=1&redirect_uri=https%3A%2F%2Fa.example%2F")
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	require.Equal(t, "/oauth2/authorize?client_id=1&redirect_uri=https%3A%2F%2Fa.example%2F", answer.Header.Get("Location"))
	require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
	require.Equal(t, []string{"__Host-foxbridge-language=fr; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax"}, answer.Header.Values("Set-Cookie"))

	answer = switchLanguage(p, "de", "/")
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	require.Empty(t, answer.Header.Values("Set-Cookie"))
	answer = switchLanguage(p, "fr", "/", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
	require.Empty(t, answer.Header.Values("Set-Cookie"))
	w := httptest.NewRecorder()
	p.LanguageSwitch().ServeHTTP(w, get(web.LanguagePath+"?language=fr"))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, http.MethodPost, w.Header().Get("Allow"))
}

func TestSwitchOfLanguagesNeverLeavesTheSite(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	for _, back := range []string{
		"", "evil.example", "https://evil.example", "HTTPS:evil.example", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`,
		`/\/evil.example`, "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", "/ /evil.example", "javascript:alert(1)",
		"data:text/html,x", "/..//evil.example", "/.//evil.example", "/%2e%2e//evil.example", "/%5cevil.example", "/a\r\nSet-Cookie: x=1", "/a\x00", "/%zz", "/é", "/a#b", "?a", "#a",
		"/" + strings.Repeat("a", 33<<10),
	} {
		answer := switchLanguage(p, "fr", back)
		if answer.StatusCode == http.StatusBadRequest {
			continue // a field that cannot be read at all
		}
		require.Equal(t, "/", answer.Header.Get("Location"), "%q", back)
		require.False(t, web.LocalPath(back), "%q", back)
	}
	for _, path := range []string{"/", "/dev/apps", "/a?b=//c&d=https://e", "/a%20b", "/a//b", "/a:b@c", "/...?x=."} {
		require.True(t, web.LocalPath(path), path)
	}
}

func FuzzAcceptLanguage(f *testing.F) {
	p := newPages(f, web.Options{})
	for _, seed := range []string{"fr-CH, fr;q=0.9, en;q=0.8, *;q=0.5", "fr;q=0", "*;q=1.000", ";q=,=", "fr;q=0.0000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		lang := p.Language(get("/", "Accept-Language", header))
		require.Contains(t, []web.Language{web.English, web.French}, lang)
		lower := strings.ToLower(header)
		if lang == web.French && !strings.Contains(lower, "fr") {
			require.Contains(t, lower, "*", "French is for those who name it, or refuse English")
		}
	})
}

func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/a?b=c", "//a", `/\a`, "/\t/a", "/a/../b", "/%2f/a"} {
		f.Add(seed)
	}
	base := &url.URL{Scheme: "https", Host: "home.example"}
	f.Fuzz(func(t *testing.T, s string) {
		if !web.LocalPath(s) {
			return
		}
		to, err := base.Parse(s)
		require.NoError(t, err)
		require.Equal(t, "https://home.example", to.Scheme+"://"+to.Host)
		require.Nil(t, to.User)
	})
}
