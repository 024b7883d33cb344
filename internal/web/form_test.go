package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/web"
)

func post(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/?name=query", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestParseForm(t *testing.T) {
	t.Parallel()
	f, err := web.ParseForm(httptest.NewRecorder(), post("name=a%20+b%0D%0Ac&scope=x&scope=y&empty=&other=1&other=2&%zz=1"), "name", "scope...", "empty", "absent")
	require.NoError(t, err)
	require.Equal(t, "a  b\r\nc", f.Get("name"), "of the body, never of the query")
	require.Equal(t, []string{"x", "y"}, f.All("scope"))
	require.True(t, f.Has("empty"))
	require.False(t, f.Has("absent"))
	require.Empty(t, f.Get("other"), "what was not asked for is not there")
	require.True(t, f.Valid())
	f.Reject("name", "sample.required")
	require.False(t, f.Valid())
	require.Equal(t, []web.FieldError{{Field: "name", Key: "sample.required"}}, f.Errors())

	q, err := web.ParseQuery(get("/?state=a;b&state2=c"), "state")
	require.NoError(t, err)
	require.Equal(t, "a;b", q.Get("state"))
	_, err = web.ParseQuery(get("/?state=a&state=a"), "state")
	require.ErrorContains(t, err, "form field state: given more than once")
}

func TestParseFormRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, media string
		status            int
		field, text       string
	}{
		{"a field that is repeated", "name=SECRET&name=SECRET", "", 400, "name", "more than once"},
		{"an empty field that is repeated", "name=&name=", "", 400, "name", "more than once"},
		{"a name in another spelling", "name=a&n%61me=b", "", 400, "name", "more than once"},
		{"a list that does not end", strings.Repeat("scope=SECRET&", 257), "", 400, "scope", "more than once"},
		{"an oversized field", "name=" + strings.Repeat("S", 32<<10+1), "", 400, "name", "too long"},
		{"an oversized field of escapes", "name=" + strings.Repeat("%53", 15<<10) + strings.Repeat("S", 17<<10+1), "", 400, "name", "too long"},
		{"NUL", "name=SECRET%00", "", 400, "name", "NUL"},
		{"invalid UTF-8", "name=SECRET%ff", "", 400, "name", "UTF-8"},
		{"a surrogate", "name=%ed%a0%80", "", 400, "name", "UTF-8"},
		{"a malformed escape", "name=SECRET%z", "", 400, "name", "malformed"},
		{"a body that is too large", "x=" + strings.Repeat("a", 64<<10), "", 413, "", "too large"},
		{"JSON", `{"name":"a"}`, "application/json", 415, "", "urlencoded"},
		{"multipart", "--x--", "multipart/form-data; boundary=x", 415, "", "urlencoded"},
		{"no type", "name=a", "none", 415, "", "urlencoded"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := post(test.body)
			switch test.media {
			case "":
			case "none":
				r.Header.Del("Content-Type")
			default:
				r.Header.Set("Content-Type", test.media)
			}
			_, err := web.ParseForm(httptest.NewRecorder(), r, "name", "scope...")
			refused, ok := errors.AsType[*web.FormError](err)
			require.True(t, ok)
			require.Equal(t, test.status, refused.Status)
			require.Equal(t, test.field, refused.Field)
			require.ErrorContains(t, err, test.text)
			require.NotContains(t, err.Error(), "SECRET")

			p := newPages(t, web.Options{})
			w := httptest.NewRecorder()
			p.Refuse(w, get("/"), err)
			require.Equal(t, test.status, w.Code)
			if test.field != "" {
				require.Contains(t, w.Body.String(), "“"+test.field+"”", "the page names the field")
			}
		})
	}
}

func TestRefuseHidesOtherErrors(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newPages(t, web.Options{}).Refuse(w, get("/"), errors.New("inner workings"))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "inner workings")
}

func FuzzParseForm(f *testing.F) {
	for _, seed := range []string{"a=1&b=2&b=3", "a=%00", "a=%ff", "a=1&a=2", "&&=&a", "%61=1;b=2", "a=+%2B"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		form, err := web.ParseForm(httptest.NewRecorder(), post(body), "a", "b...")
		if err != nil {
			_, ok := errors.AsType[*web.FormError](err)
			require.True(t, ok)
			return
		}
		require.LessOrEqual(t, len(form.All("a")), 1)
		for _, v := range slices.Concat(form.All("a"), form.All("b")) {
			require.True(t, utf8.ValidString(v) && !strings.Contains(v, "\x00"))
		}
		if values, err := url.ParseQuery(body); err == nil {
			require.Equal(t, values["a"], form.All("a"), "as other readers read it")
			require.Equal(t, values["b"], form.All("b"))
		}
	})
}

func TestFormToken(t *testing.T) {
	t.Parallel()
	token := web.FormToken("secret", "delete")
	require.True(t, web.CheckFormToken("secret", "delete", token))
	require.NotEqual(t, token, web.FormToken("secret", "delete"), "no two pages hold the same")
	require.NotContains(t, token, "secret")

	salt, proof, _ := strings.Cut(token, ".")
	other := web.FormToken("secret", "rename")
	for name, forged := range map[string]string{
		"empty": "", "no proof": salt + ".", "no dot": salt + proof, "proof alone": "." + proof,
		"another salt": "x" + salt[1:] + "." + proof, "another end": token[:len(token)-2] + "__", "longer": token + "A", "shorter": token[:len(token)-1],
		"of another form": other, "of another session": web.FormToken("Secret", "delete"), "of no session": web.FormToken("", "delete"),
		"salt of another": strings.Split(other, ".")[0] + "." + proof, "oversized": strings.Repeat("A", 1<<16) + "." + proof,
	} {
		require.False(t, web.CheckFormToken("secret", "delete", forged), name)
	}
	require.False(t, web.CheckFormToken("", "delete", web.FormToken("", "delete")), "no session, no tokens")
}

// browser keeps cookies as a browser does.
type browser map[string]string

func (b browser) take(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b, c.Name)
		} else {
			b[c.Name] = c.Value
		}
	}
}

func (b browser) send(r *http.Request) *http.Request {
	for name, value := range b {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

func TestPostedFormBeforeAndAfterSignIn(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	b := browser{}
	w := httptest.NewRecorder()
	first := p.FormToken(w, b.send(get("/")), "signin")
	second := p.FormToken(w, b.send(get("/")), "other")
	require.Len(t, w.Result().Cookies(), 1, "all forms of a page have one secret")
	b.take(w)
	posted := func(b browser, form, token string) error {
		_, err := p.PostedForm(httptest.NewRecorder(), b.send(post(url.Values{"form_token": {token}, "name": {"a"}}.Encode())), form, "name")
		return err
	}
	require.NoError(t, posted(b, "signin", first))
	require.NoError(t, posted(b, "other", second))
	for _, err := range []error{posted(browser{}, "signin", first), posted(b, "other", first), posted(b, "signin", "")} {
		refused, ok := errors.AsType[*web.FormError](err)
		require.True(t, ok)
		require.Equal(t, http.StatusForbidden, refused.Status)
		require.NotContains(t, err.Error(), first)
	}

	w = httptest.NewRecorder()
	p.StartSession(w, "a-new-secret", time.Hour)
	b.take(w)
	require.Equal(t, browser{"foxbridge-session": "a-new-secret"}, b)
	require.Error(t, posted(b, "signin", first), "sign-in ends the tokens of before")
	w = httptest.NewRecorder()
	token := p.FormToken(w, b.send(get("/")), "other")
	require.Empty(t, w.Result().Cookies())
	require.True(t, web.CheckFormToken("a-new-secret", "other", token))
	require.NoError(t, posted(b, "other", token))
	w = httptest.NewRecorder()
	p.EndSession(w)
	b.take(w)
	require.Empty(t, b)
}

func TestCookies(t *testing.T) {
	t.Parallel()
	for want, options := range map[string]web.Options{
		"__Host-foxbridge-session=secret; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax": {Secure: true, Port: "8443"},
		"foxbridge-session=secret; Path=/; Max-Age=60; HttpOnly; SameSite=Lax":                {},
		"foxbridge-8080-session=secret; Path=/; Max-Age=60; HttpOnly; SameSite=Lax":           {Port: "8080"},
	} {
		p := newPages(t, options)
		w := httptest.NewRecorder()
		p.StartSession(w, "other", time.Hour)
		p.StartSession(w, "secret", time.Minute)
		require.Equal(t, want, w.Header().Values("Set-Cookie")[0], "the last word counts")
		name, _, _ := strings.Cut(want, "=")
		require.Equal(t, "secret", p.Session(get("/", "Cookie", name+"=secret")))
		require.Empty(t, p.Session(get("/", "Cookie", name+"=secret; "+name+"=other")), "one of several may be another site's work")
		require.Empty(t, p.Session(get("/", "Cookie", name+"="+strings.Repeat("a", 257))))
		require.Empty(t, p.Session(get("/")))
		require.Empty(t, p.Session(get("/", "Cookie", "foxbridge-8081-session=secret")), "the cookie of another port")
	}
	require.Empty(t, newPages(t, web.Options{Secure: true}).Session(get("/", "Cookie", "foxbridge-session=secret")), "the cookie of plain HTTP is none over HTTPS")
}

func TestFlashIsShownOnce(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	b := browser{}
	w := httptest.NewRecorder()
	p.Flash(w, "sample.saved")
	p.Redirect(w, "/dev/apps")
	require.Equal(t, http.StatusSeeOther, w.Code)
	b.take(w)
	show := func(status int) string {
		w := httptest.NewRecorder()
		p.Render(w, b.send(get("/")), status, "signin", sampleData{})
		b.take(w)
		return w.Body.String()
	}
	require.NotContains(t, show(http.StatusForbidden), "Your changes were saved.", "not on pages of errors")
	require.Contains(t, show(http.StatusOK), `<div class="notice success" role="status"><p>Your changes were saved.</p></div>`)
	require.NotContains(t, show(http.StatusOK), "Your changes were saved.")
	b["foxbridge-notice"] = "sample.tokens"
	require.NotContains(t, show(http.StatusOK), `class="notice`)
	b["foxbridge-notice"] = "no.such.message"
	require.NotContains(t, show(http.StatusOK), `class="notice`)
}

func TestProtect(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	h := p.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	tests := []struct {
		method, header, value string
		want                  int
	}{
		{http.MethodPost, "Sec-Fetch-Site", "same-origin", 204},
		{http.MethodPost, "Sec-Fetch-Site", "none", 204},
		{http.MethodPost, "Sec-Fetch-Site", "cross-site", 403},
		{http.MethodPost, "Sec-Fetch-Site", "same-site", 403},
		{http.MethodPost, "Origin", "http://example.com", 204},
		{http.MethodPost, "Origin", "http://evil.example", 403},
		{http.MethodPost, "Origin", "null", 403},
		{http.MethodPost, "X-Nothing", "", 204},
		{http.MethodGet, "Sec-Fetch-Site", "cross-site", 204},
	}
	for _, test := range tests {
		r := httptest.NewRequest(test.method, "http://example.com/", nil)
		r.Header.Set(test.header, test.value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, test.want, w.Code, "%+v", test)
		if w.Code == http.StatusForbidden {
			require.Contains(t, w.Body.String(), "sent from another website")
		}
	}
}
