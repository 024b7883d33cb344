package web_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/web"
)

// part is one of a multipart form: a file if it has a filename.
type part struct{ name, filename, value string }

// uploading is a request with a form, from a browser with a session.
func uploading(t testing.TB, parts ...part) *http.Request {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, p := range parts {
		if p.filename == "" {
			require.NoError(t, w.WriteField(p.name, p.value))
			continue
		}
		file, err := w.CreateFormFile(p.name, p.filename)
		require.NoError(t, err)
		_, err = file.Write([]byte(p.value))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	r := httptest.NewRequest(http.MethodPost, "/", &body)
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.AddCookie(&http.Cookie{Name: "foxbridge-session", Value: sessionSecret})
	return r
}

const sessionSecret = "the secret of a session of some length"

func TestPostedUpload(t *testing.T) {
	t.Parallel()
	p := newPages(t, web.Options{})
	token := part{web.TokenField, "", web.FormToken(sessionSecret, "picture")}
	read := func(limit int64, parts ...part) (*web.Form, []byte, error) {
		return p.PostedUpload(httptest.NewRecorder(), uploading(t, parts...), "picture", "file", limit, "name")
	}
	f, content, err := read(5, token, part{"name", "", "a  b"}, part{"file", "x.png", "12\x00\xff5"}, part{"other", "", "1"}, part{"other", "", "2"})
	require.NoError(t, err)
	require.Equal(t, "a  b", f.Get("name"))
	require.Equal(t, []byte("12\x00\xff5"), content)
	require.False(t, f.Has("other"))
	_, content, err = read(5, token)
	require.NoError(t, err)
	require.Nil(t, content)

	f, _, err = read(5, token, part{"name", "", "a"}, part{"file", "x.png", "123456"})
	var refused *web.FormError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "file", refused.Field)
	require.Equal(t, http.StatusRequestEntityTooLarge, refused.Status)
	require.Equal(t, "a", f.Get("name"), "so that the page can say it")

	for name, c := range map[string]struct {
		parts  []part
		status int
	}{
		"no token":             {[]part{{"file", "x", "1"}}, http.StatusForbidden},
		"another form's token": {[]part{{web.TokenField, "", web.FormToken(sessionSecret, "other")}}, http.StatusForbidden},
		"token after too much": {[]part{{"file", "x", "123456"}, token}, http.StatusForbidden},
		"a field twice":        {[]part{token, {"name", "", "a"}, {"name", "", "a"}}, http.StatusBadRequest},
		"the file twice":       {[]part{token, {"file", "x", "1"}, {"file", "x", "1"}}, http.StatusBadRequest},
		"a field too long":     {[]part{token, {"name", "", strings.Repeat("a", 32<<10+1)}}, http.StatusBadRequest},
		"a field that is none": {[]part{token, {"name", "", "a\xff"}}, http.StatusBadRequest},
		"a NUL":                {[]part{token, {"name", "", "a\x00"}}, http.StatusBadRequest},
		"far too much":         {[]part{token, {"unknown", "", strings.Repeat("a", 100<<10)}}, http.StatusRequestEntityTooLarge},
	} {
		_, _, err := read(5, c.parts...)
		var refused *web.FormError
		require.ErrorAs(t, err, &refused, name)
		require.Equal(t, c.status, refused.Status, name)
	}
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"} {
		r := uploading(t, token)
		r.Header.Set("Content-Type", media)
		_, _, err := p.PostedUpload(httptest.NewRecorder(), r, "picture", "file", 5)
		var refused *web.FormError
		require.ErrorAs(t, err, &refused, media)
		require.Equal(t, http.StatusUnsupportedMediaType, refused.Status, media)
	}
	r := uploading(t, token)
	cut := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nabc"))
	cut.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	cut.Header["Cookie"] = r.Header["Cookie"]
	_, _, err = p.PostedUpload(httptest.NewRecorder(), cut, "picture", "file", 5, "name")
	require.ErrorAs(t, err, &refused)
	require.Equal(t, http.StatusBadRequest, refused.Status)
}
