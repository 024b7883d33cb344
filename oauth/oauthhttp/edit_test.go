package oauthhttp_test

import (
	"bytes"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// editing is the form of editing an application, as its page has it.
func (b *browser) editing(id string) url.Values {
	b.t.Helper()
	return b.get("/dev/apps/" + id + "/edit").form("/dev/apps/" + id + "/edit")
}

// edits sends it with a change.
func (b *browser) edits(id string, change func(url.Values)) *view {
	b.t.Helper()
	form := b.editing(id)
	change(form)
	return b.post("/dev/apps/"+id+"/edit", form)
}

func TestAnApplicationIsEdited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	app := s.commercial(t, func(r *oauth.CommercialRequest) { r.Description = "One. Two." })
	b := s.aliceAtHome(t)
	form := b.editing(app.ID)
	require.Equal(t, "App", form.Get("name"))
	require.Equal(t, "One. Two.", form.Get("description"))
	require.Equal(t, redirectURI, form.Get("redirect_uris"))
	require.ElementsMatch(t, scopes(), form["scope"])
	page := "/dev/apps/" + app.ID
	before, err := s.service.Application(t.Context(), s.alice.ID, app.ID)
	require.NoError(t, err)
	require.Equal(t, page, b.post(page+"/edit", form).location())
	after, err := s.service.Application(t.Context(), s.alice.ID, app.ID)
	require.NoError(t, err)
	before.Edition++
	require.Equal(t, before, after, "what the form came with changes nothing")

	// What only takes something away holds at once.
	require.Equal(t, page, b.edits(app.ID, func(f url.Values) { f.Set("require_pkce", "yes"); f["scope"] = scopes()[1:] }).location())
	v := b.get(page)
	require.Contains(t, v.text(), "Your changes are saved.")
	require.Contains(t, v.text(), "It must use PKCE")
	require.Empty(t, v.all("section", "id", "waiting"))

	// The rest waits.
	require.Equal(t, page, b.edits(app.ID, func(f url.Values) {
		f.Set("name", "New name")
		f.Set("description", "One.\r\n<b>Three.</b>")
		f.Set("home_page", "https://new.example/")
		f.Set("redirect_uris", redirectURI+"\r\nhttps://app.example/other")
		f.Del("require_pkce")
	}).location())
	v = b.get(page)
	require.Contains(t, v.text(), "Some of them wait for approval")
	require.Equal(t, "App", v.heading())
	require.Contains(t, v.text(), "One. Two.")
	waiting := textOf(v.all("section", "id", "waiting")[0])
	for _, text := range []string{"New name", "One. <b>Three.</b>", "https://new.example/", "https://app.example/other", "It need not use PKCE"} {
		require.Contains(t, waiting, text)
	}
	require.Equal(t, "New name", b.editing(app.ID).Get("name"), "the form goes on from there")
	require.Equal(t, "https://new.example/", b.editing(app.ID).Get("home_page"))

	// To say nothing waits too: what was approved may say what the application is not.
	b.edits(app.ID, func(f url.Values) { f.Set("description", "") })
	waiting = textOf(b.get(page).all("section", "id", "waiting")[0])
	require.Contains(t, waiting, "What does it do? None any more")
	held, err := s.service.HeldEdits(t.Context(), "", 10)
	require.NoError(t, err)
	require.Len(t, held, 1)
	err = s.service.Decide(t.Context(), oauth.Decision{ClientID: app.ID, Edition: held[0].Client.Edition, Approve: true})
	require.NoError(t, err)
	require.Equal(t, "New name", b.get(page).heading())
	v = b.get(page)
	require.Empty(t, v.all("section", "id", "waiting"))
	require.NotContains(t, v.text(), "One. Two.")
	require.Contains(t, v.text(), "https://new.example/")
}

func TestAPersonalApplicationIsRenamed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	form := b.editing(s.client.ID)
	require.NotContains(t, form, "redirect_uris")
	b.edits(s.client.ID, func(f url.Values) { f.Set("name", "Heating") })
	require.Equal(t, "Heating", b.get("/dev/apps/"+s.client.ID).heading())
	v := b.edits(s.client.ID, func(f url.Values) { f.Set("name", " ") })
	require.Equal(t, http.StatusUnprocessableEntity, v.status)
	require.Contains(t, v.faults(), "Enter a name of at most 100 characters, none of them invisible.")
}

func TestEditsOnThePageThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	app := s.commercial(t)
	b := s.aliceAtHome(t)
	path := "/dev/apps/" + app.ID + "/edit"
	for name, c := range map[string]struct {
		change func(url.Values)
		fault  string
	}{
		"name":         {func(f url.Values) { f.Set("name", "") }, "Enter a name of at most 100 characters, none of them invisible."},
		"description":  {func(f url.Values) { f.Set("description", strings.Repeat("a", 501)) }, "Shorten the description to 500 characters, none of them invisible."},
		"home page":    {func(f url.Values) { f.Set("home_page", "javascript:alert(1)") }, "Enter an address that begins with https://,"},
		"redirect URI": {func(f url.Values) { f.Set("redirect_uris", "https://app.example/#x") }, "Line 1: this must begin with https://"},
		"scope":        {func(f url.Values) { f.Del("scope") }, "Tick at least one thing."},
		"both":         {func(f url.Values) { f.Set("legacy", "yes"); f.Set("require_pkce", "yes") }, "Untick one of the two."},
	} {
		v := b.edits(app.ID, c.change)
		require.Equal(t, http.StatusUnprocessableEntity, v.status, name)
		require.Contains(t, v.faults(), c.fault, name)
	}
	first, second := b.editing(app.ID), b.editing(app.ID)
	first.Set("description", "First.")
	require.Equal(t, http.StatusSeeOther, b.post(path, first).status)
	for _, edition := range []string{second.Get("edition"), "", "x"} {
		second.Set("edition", edition)
		v := b.post(path, second)
		require.Equal(t, http.StatusConflict, v.status)
		require.Contains(t, v.faults(), "The application was changed in the meantime")
	}
	form := b.editing(app.ID)
	form.Del("form_token")
	require.Equal(t, http.StatusForbidden, b.post(path, form).status)
	bob := s.bobAtHome(t)
	require.Equal(t, http.StatusNotFound, bob.get(path).status)
	form.Set("form_token", bob.editing(s.bobs(t)).Get("form_token"))
	require.Equal(t, http.StatusNotFound, bob.post(path, form).status)
	require.Equal(t, "/signin?return="+url.QueryEscape(path), s.browser(t).get(path).location())

	rejected := s.requested(t)
	require.NoError(t, s.service.Reject(t.Context(), rejected.ID))
	require.Equal(t, http.StatusConflict, b.get("/dev/apps/"+rejected.ID+"/edit").status)
	require.NotContains(t, b.get("/dev/apps/"+rejected.ID).body, "/edit")
}

// bobs is an application of Bob's.
func (s *site) bobs(t testing.TB) string {
	t.Helper()
	c, _, err := s.service.AddClient(t.Context(), bobEmail, "Bob's script")
	require.NoError(t, err)
	return c.ID
}

func TestAnApplicationIsDeleted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	app := s.commercial(t)
	code := s.code(t, app)
	got := tokens(t, s.post("", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {app.ID}, "client_secret": {app.secret}, "code": {code},
		"redirect_uri": {redirectURI}, "code_verifier": {verifier},
	}.Encode()))
	b := s.aliceAtHome(t)
	path := "/dev/apps/" + app.ID + "/delete"
	form := b.get(path).form(path)
	bob := s.bobAtHome(t)
	require.Equal(t, http.StatusNotFound, bob.get(path).status)
	bare := url.Values{}
	require.Equal(t, http.StatusForbidden, b.post(path, bare).status)
	require.Equal(t, "/dev/apps", b.post(path, form).location())
	v := b.get("/dev/apps")
	require.Contains(t, v.text(), "The application is deleted.")
	require.NotContains(t, v.text(), app.ID)
	require.Equal(t, http.StatusNotFound, b.get("/dev/apps/"+app.ID).status)
	require.Equal(t, http.StatusNotFound, b.post(path, form).status)
	_, err := s.service.Authenticate(t.Context(), got.AccessToken)
	require.Error(t, err)
	require.Equal(t, "invalid_client", decoded(t, s.post("", url.Values{
		"grant_type": {"refresh_token"}, "client_id": {app.ID}, "client_secret": {app.secret}, "refresh_token": {got.RefreshToken},
	}.Encode())).Error)
	require.Equal(t, http.StatusBadRequest, b.get(authorizePath(app.authorizing())).status)
}

// upload sends a picture as a browser does.
func (b *browser) upload(id string, form url.Values, picture []byte, more ...string) *view {
	b.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, name := range []string{"form_token", "edition", "remove"} {
		for _, value := range form[name] {
			require.NoError(b.t, w.WriteField(name, value))
		}
	}
	if picture != nil {
		part, err := w.CreateFormFile("logo", "logo.svg")
		require.NoError(b.t, err)
		_, err = part.Write(picture)
		require.NoError(b.t, err)
	}
	require.NoError(b.t, w.Close())
	return b.do(http.MethodPost, "/dev/apps/"+id+"/logo", body.String(), append([]string{"Content-Type", w.FormDataContentType()}, more...)...)
}

func (b *browser) logoForm(id string) url.Values {
	b.t.Helper()
	return b.get("/dev/apps/" + id + "/edit").form("/dev/apps/" + id + "/logo")
}

func aPicture(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, image.NewGray(image.Rect(0, 0, 20, 20))))
	return out.Bytes()
}

func TestALogoIsShownWhereTheApplicationIs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	app := s.commercial(t)
	b := s.aliceAtHome(t)
	v := b.upload(app.ID, b.logoForm(app.ID), aPicture(t))
	require.Equal(t, "/dev/apps/"+app.ID, v.location())
	v = b.get("/dev/apps/" + app.ID)
	require.Len(t, v.all("img", "class", "logo"), 1, "where it waits")
	require.Empty(t, b.get(authorizePath(app.authorizing())).all("img", "class", "logo"), "nobody has approved it")
	err := s.service.Decide(t.Context(), oauth.Decision{ClientID: app.ID, Edition: 1, Approve: true})
	require.NoError(t, err)
	tokens(t, s.post("", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {app.ID}, "client_secret": {app.secret}, "code": {s.code(t, app)},
		"redirect_uri": {redirectURI}, "code_verifier": {verifier},
	}.Encode()))
	var at string
	for _, page := range []string{authorizePath(app.authorizing()), "/connected", "/dev/apps", "/dev/apps/" + app.ID, "/dev/apps/" + app.ID + "/edit"} {
		shown := b.get(page).all("img", "class", "logo")
		require.Len(t, shown, 1, page)
		at = attribute(shown[0], "src")
		require.True(t, strings.HasPrefix(at, "/dev/apps/"+app.ID+"/logo.png?v="), at)
	}

	stranger := s.browser(t) // who is to consent, perhaps
	got := stranger.get(at)
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "image/png", got.header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	require.Equal(t, "public, max-age=31536000, immutable", got.header.Get("Cache-Control"))
	require.Contains(t, got.header.Get("Content-Security-Policy"), "default-src 'none'")
	size, err := png.DecodeConfig(strings.NewReader(got.body))
	require.NoError(t, err)
	require.Equal(t, 128, size.Width)
	for _, path := range []string{"/dev/apps/" + app.ID + "/logo.png", at + "0", strings.Replace(at, "?v=", "?v=00", 1), "/dev/apps/" + s.client.ID + at[strings.Index(at, "/logo.png"):]} {
		require.Equal(t, http.StatusNotFound, stranger.get(path).status, path)
	}

	form := b.logoForm(app.ID)
	form.Set("remove", "yes")
	require.Equal(t, http.StatusSeeOther, b.upload(app.ID, form, nil).status)
	require.Equal(t, http.StatusNotFound, stranger.get(at).status)
	require.Empty(t, b.get("/connected").all("img", "class", "logo"))
}

func TestLogosThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	app := s.commercial(t)
	b := s.aliceAtHome(t)
	good := b.logoForm(app.ID)
	for name, c := range map[string]struct {
		form    func(url.Values)
		picture []byte
		status  int
	}{
		"an SVG":                     {nil, []byte("<svg/>"), http.StatusUnprocessableEntity},
		"an empty file":              {nil, []byte{}, http.StatusUnprocessableEntity},
		"no file":                    {nil, nil, http.StatusUnprocessableEntity},
		"a file that is too large":   {nil, bytes.Repeat([]byte("a"), 256<<10+1), http.StatusRequestEntityTooLarge},
		"a file of many megabytes":   {nil, bytes.Repeat([]byte("a"), 3<<20), http.StatusRequestEntityTooLarge},
		"no form token":              {func(f url.Values) { f.Del("form_token") }, aPicture(t), http.StatusForbidden},
		"another form's":             {func(f url.Values) { f.Set("form_token", b.editing(app.ID).Get("form_token")) }, aPicture(t), http.StatusForbidden},
		"form token given twice":     {func(f url.Values) { f.Add("form_token", f.Get("form_token")) }, aPicture(t), http.StatusBadRequest},
		"an edition that is gone":    {func(f url.Values) { f.Set("edition", "7") }, aPicture(t), http.StatusUnprocessableEntity},
		"no token and too large":     {func(f url.Values) { f.Del("form_token") }, bytes.Repeat([]byte("a"), 256<<10+1), http.StatusForbidden},
		"an edition of many letters": {func(f url.Values) { f.Set("edition", strings.Repeat("1", 40<<10)) }, aPicture(t), http.StatusBadRequest},
	} {
		form := url.Values{}
		for k, v := range good {
			form[k] = append([]string{}, v...)
		}
		if c.form != nil {
			c.form(form)
		}
		v := b.upload(app.ID, form, c.picture)
		require.Equal(t, c.status, v.status, "%s: %s", name, v.text())
	}
	path := "/dev/apps/" + app.ID + "/logo"
	require.Equal(t, http.StatusUnsupportedMediaType, b.post(path, good).status)
	cut := "--b\r\nContent-Disposition: form-data; name=\"logo\"; filename=\"a\"\r\n\r\nabc"
	require.Equal(t, http.StatusBadRequest, b.do(http.MethodPost, path, cut, "Content-Type", "multipart/form-data; boundary=b").status)
	require.Equal(t, http.StatusForbidden, b.upload(app.ID, good, aPicture(t), "Sec-Fetch-Site", "cross-site").status)
	require.Equal(t, http.StatusNotFound, b.upload(s.client.ID, good, aPicture(t)).status, "a personal one has none")
	c, err := s.service.Application(t.Context(), s.alice.ID, app.ID)
	require.NoError(t, err)
	require.Zero(t, c.Edition)
}

func TestDeletedApplicationsDoNotCountTowardTen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.aliceAtHome(t)
	for i := range 9 {
		require.Equal(t, http.StatusOK, b.create("App "+strconv.Itoa(i)).status)
	}
	require.Equal(t, http.StatusConflict, b.create("One more").status)
	path := "/dev/apps/" + s.client.ID + "/delete"
	require.Equal(t, "/dev/apps", b.post(path, b.get(path).form(path)).location())
	s.Advance(time.Minute)
	require.Equal(t, http.StatusOK, b.create("One more").status)
}

func TestOperatorsDecideOnEdits(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, server *server) {
		s := newSiteOn(t, server, func(*oauthhttp.PagesOptions) {})
		app, pending := s.commercial(t), s.requested(t, func(r *oauth.CommercialRequest) { r.Name = "Pending" })
		_, err := s.administration.SetOperator(t.Context(), bobEmail, true)
		require.NoError(t, err)
		alice, bob := s.aliceAtHome(t), s.bobAtHome(t)
		seen := bob.get("/operator/apps").form("/operator/apps/approve")
		require.Equal(t, pending.ID, seen.Get("client_id"))
		alice.edits(pending.ID, func(f url.Values) { f.Set("name", "Foxbridge itself") })
		require.Equal(t, http.StatusConflict, bob.post("/operator/apps/approve", seen).status, "it is not what was seen")
		seen = bob.get("/operator/apps").form("/operator/apps/approve")
		require.Equal(t, "/operator/apps", bob.post("/operator/apps/approve", seen).location())
		require.Contains(t, bob.get("/operator/apps").text(), "No application waits for a decision.")

		alice.edits(app.ID, func(f url.Values) { f.Set("name", "First"); f.Set("legacy", "yes") })
		v := bob.get("/operator/apps")
		require.Contains(t, v.text(), "Edited applications")
		require.Contains(t, v.text(), "Name First")
		require.Contains(t, v.text(), "It may use the implicit grant")
		seen = v.form("/operator/apps/approve")
		require.Equal(t, app.ID, seen.Get("client_id"))
		alice.edits(app.ID, func(f url.Values) { f.Set("name", "Second") })
		require.Equal(t, http.StatusConflict, bob.post("/operator/apps/approve", seen).status, "nor this")
		require.Equal(t, "/operator/apps", bob.post("/operator/apps/approve", bob.get("/operator/apps").form("/operator/apps/approve")).location())
		require.Equal(t, "Second", alice.get("/dev/apps/"+app.ID).heading())
		alice.edits(app.ID, func(f url.Values) { f.Set("name", "Third") })
		require.Equal(t, "/operator/apps", bob.post("/operator/apps/reject", bob.get("/operator/apps").form("/operator/apps/reject")).location())
		require.Equal(t, "Second", alice.get("/dev/apps/"+app.ID).heading())
		record := alice.get("/security/record").text()
		for _, told := range []string{"Some of it waits for approval.", "What you edited of an application was approved.", "What you edited of an application was not approved."} {
			require.Contains(t, record, told)
		}
	})
}
