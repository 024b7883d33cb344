package devicehttp_test

import (
	"context"
	"database/sql"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicehttp"
	"github.com/foxbridge/foxbridge/devices/devicesqlite"
	"github.com/foxbridge/foxbridge/internal/web"
)

// household is the pages of households over a real store.
type household struct {
	*api
	url                 string
	alice, bob, mallory *resident // Alice owns the home
}

// resident is a person at a browser that follows no redirect.
type resident struct {
	devices.Person
	t      *testing.T
	url    string
	client *http.Client
	lang   string
}

func newHousehold(t *testing.T) *household {
	t.Helper()
	db := migrationstest.SQLite(t)
	query := func(insert string) (id int64) {
		require.NoError(t, db.Write(t.Context(), "", func(ctx context.Context, tx *sql.Tx) error {
			return tx.QueryRowContext(ctx, insert).Scan(&id)
		}))
		return id
	}
	h := &household{api: newAPIOn(t, devicesqlite.New(db), query, true)}
	people := map[string]devices.Person{"Alice": h.owner}
	for _, name := range []string{"Bob", "Mallory"} {
		email := strings.ToLower(name) + "@example.org"
		id := query(fmt.Sprintf("INSERT INTO oauth_users (email, name, password_hash, created_at) VALUES ('%s', '%s', '', 0) RETURNING id", email, name))
		people[name] = devices.Person{UserID: id, Name: name, Email: email}
	}
	pages := devicehttp.NewHousehold(devicehttp.HouseholdOptions{
		Service: h.service, Logger: slog.New(slog.DiscardHandler),
		Person: func(_ context.Context, id int64) (devices.Person, error) {
			for _, p := range people {
				if p.UserID == id {
					return p, nil
				}
			}
			return devices.Person{}, fmt.Errorf("nobody has ID %d", id)
		},
	})
	site, err := web.New(web.Options{Templates: one(pages.Templates()), Messages: one(pages.Messages()), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, site.RequireKeys(pages.Keys()...))
	_, err = site.Check()
	require.NoError(t, err)
	routes := mux.NewRouter()
	for _, page := range pages.Pages() {
		routes.HandleFunc(page.Path, func(w http.ResponseWriter, r *http.Request) {
			serve := map[string]devicehttp.HouseholdServe{"GET": page.Get, "POST": page.Post}[r.Method]
			if serve == nil {
				site.Error(w, r, http.StatusMethodNotAllowed, "")
				return
			}
			if err := serve(site, w, r, people[r.Header.Get("Test-Person")]); err != nil {
				site.Refuse(w, r, err)
			}
		})
	}
	server := httptest.NewServer(routes)
	t.Cleanup(server.Close)
	h.url = server.URL
	at := func(name string) *resident {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		return &resident{Person: people[name], t: t, url: server.URL, client: &http.Client{
			Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
	}
	h.alice, h.bob, h.mallory = at("Alice"), at("Bob"), at("Mallory")
	return h
}

func one[T any](v T) []T { return []T{v} }

// path is one of the home.
func (h *household) path(rest string) string { return fmt.Sprintf("/household/%d%s", h.site.ID, rest) }

// page is an answer.
type page struct {
	status   int
	location string
	body     string
}

func (p *resident) send(method, path string, form url.Values) page {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(form.Encode()))
	require.NoError(p.t, err)
	r.Header.Set("Test-Person", p.Name)
	r.Header.Set("Accept-Language", p.lang)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := p.client.Do(r)
	require.NoError(p.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return page{response.StatusCode, response.Header.Get("Location"), html.UnescapeString(string(body))}
}

func (p *resident) get(path string) page {
	p.t.Helper()
	return p.send(http.MethodGet, path, nil)
}

// token is that of the form to action on a page.
func (v page) token(t *testing.T, action string) string {
	t.Helper()
	found := regexp.MustCompile(`action="` + regexp.QuoteMeta(action) + `"[^>]*>\s*<input type="hidden" name="form_token" value="([^"]+)"`).FindStringSubmatch(v.body)
	require.NotNil(t, found, "no form to %s in\n%s", action, v.body)
	return found[1]
}

// submit sends the form to action that is on the page at from.
func (p *resident) submit(from, action string, fields ...string) page {
	p.t.Helper()
	return p.submitOf(p.get(from), action, fields...)
}

func (p *resident) submitOf(on page, action string, fields ...string) page {
	p.t.Helper()
	form := url.Values{"form_token": {on.token(p.t, action)}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return p.send(http.MethodPost, action, form)
}

// code has Alice invite somebody, and gives the code.
func (h *household) code(email, role string) string {
	h.t.Helper()
	v := h.alice.submit(h.path(""), h.path("/invite"), "email", email, "role", role)
	require.Equal(h.t, http.StatusOK, v.status, v.body)
	found := regexp.MustCompile(`<code id="invitation-code">([0-9a-f]{32})</code>`).FindStringSubmatch(v.body)
	require.NotNil(h.t, found, v.body)
	require.Contains(h.t, v.body, strings.ToLower(strings.TrimSpace(email)))
	return found[1]
}

// enter has a person enter a code, and gives the page that asks for an answer.
func (p *resident) enter(code string) page {
	p.t.Helper()
	return p.submit("/household", "/household/invitation", "code", code)
}

func TestAnInvitationFromItsPage(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	code := h.code(" Bob@example.org ", "guest")
	require.Contains(t, h.alice.get(h.path("")).body, "bob@example.org")
	require.NotContains(t, h.alice.get(h.path("")).body, code, "it is shown once")

	asked := h.bob.enter(" " + code + " ")
	require.Equal(t, http.StatusOK, asked.status)
	require.Contains(t, asked.body, "Join “Séjour”?")
	require.Contains(t, asked.body, "Guest")
	require.NotContains(t, h.bob.get("/household").body, "Séjour", "not yet")
	joined := h.bob.submitOf(asked, "/household/invitation/answer", "code", code, "answer", "accept")
	require.Equal(t, h.path(""), joined.location)
	home := h.bob.get(joined.location)
	require.Contains(t, home.body, "You belong to this home now.")
	require.Contains(t, home.body, "Alice")
	require.NotContains(t, home.body, h.alice.Email, "addresses are for owners")
	require.NotContains(t, home.body, h.path("/invite"))
	require.Equal(t, http.StatusUnprocessableEntity, h.bob.submitOf(asked, "/household/invitation/answer", "code", code, "answer", "accept").status, "once")

	// He goes, and comes no more.
	leave := h.path(fmt.Sprintf("/member/%d", h.bob.UserID))
	require.Equal(t, "/household", h.bob.submit(leave, leave).location)
	require.Contains(t, h.bob.get("/household").body, "You do not belong to that home any more.")
	require.Equal(t, http.StatusNotFound, h.bob.get(h.path("")).status)

	// Declined, withdrawn.
	code = h.code("bob@example.org", "member")
	require.Equal(t, "/household", h.bob.submitOf(h.bob.enter(code), "/household/invitation/answer", "code", code, "answer", "decline").location)
	require.NotContains(t, h.alice.get(h.path("")).body, "bob@example.org")
	code = h.code("bob@example.org", "member")
	before := h.alice.get(h.path(""))
	require.Equal(t, h.path(""), h.alice.submitOf(before, h.path("/withdraw"), "email", "bob@example.org").location)
	require.Equal(t, http.StatusConflict, h.alice.submitOf(before, h.path("/withdraw"), "email", "bob@example.org").status)
	require.Equal(t, http.StatusUnprocessableEntity, h.bob.enter(code).status)
	require.Equal(t, []string{"Alice invited somebody as a guest", "Bob is a guest of this home now", "Bob does not belong to this home any more"},
		h.told(devices.HistoryAccount)[:3])
}

// told are the lines of the history of that type.
func (h *household) told(kind devices.HistoryType) (labels []string) {
	h.t.Helper()
	entries, err := h.service.History(h.t.Context(), devices.Caller{UserID: h.owner.UserID, Unscoped: true}, h.site.ID, devices.HistoryQuery{Types: []devices.HistoryType{kind}, Ascending: true})
	require.NoError(h.t, err)
	for _, e := range entries {
		labels = append(labels, e.Label)
	}
	return labels
}

func TestInvitationsThatAreRefused(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	code := h.code("bob@example.org", "member")
	for name, entered := range map[string]string{"empty": "", "wrong": strings.Repeat("0", 32), "another's": code} {
		v := h.mallory.enter(entered)
		require.Equal(t, http.StatusUnprocessableEntity, v.status, name)
		require.Contains(t, v.body, "another e-mail address than mallory@example.org", name)
		require.NotContains(t, v.body, "Séjour", name)
	}
	for name, c := range map[string]struct{ email, role, field string }{
		"no address":    {"bob", "member", "invite-email-error"},
		"empty":         {"", "member", "invite-email-error"},
		"as an owner":   {"bob@example.org", "owner", "invite-role-error"},
		"as an unknown": {"bob@example.org", "", "invite-role-error"},
	} {
		v := h.alice.submit(h.path(""), h.path("/invite"), "email", c.email, "role", c.role)
		require.Equal(t, http.StatusUnprocessableEntity, v.status, name)
		require.Contains(t, v.body, `id="`+c.field+`"`, name)
	}
	asked := h.bob.enter(code)
	require.Equal(t, http.StatusBadRequest, h.bob.submitOf(asked, "/household/invitation/answer", "code", code).status)
	require.Equal(t, http.StatusForbidden, h.bob.send("POST", "/household/invitation/answer", url.Values{"code": {code}, "answer": {"accept"}}).status, "without its token")
	require.Equal(t, http.StatusForbidden, h.mallory.send("POST", "/household/invitation/answer", url.Values{"code": {code}, "answer": {"accept"}, "form_token": {asked.token(t, "/household/invitation/answer")}}).status, "another's token")
	require.Contains(t, h.bob.get("/household").body, "You belong to no home yet.")

	owner := h.path(fmt.Sprintf("/member/%d", h.alice.UserID))
	require.Equal(t, http.StatusConflict, h.alice.get(owner).status, "the last owner stays")
	for _, path := range []string{h.path(""), owner, "/household/0", "/household/x", "/household/99999999999999999999"} {
		require.Equal(t, http.StatusNotFound, h.mallory.get(path).status, path)
	}
	for _, path := range []string{"/member/0", "/member/x"} {
		require.Equal(t, http.StatusNotFound, h.alice.get(h.path(path)).status, path)
	}
}

// What a member or guest may not do is not shown, and is refused to a form that is made up.
func TestWhoDoesNotOwnAHomeDecidesNothing(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	code := h.code("bob@example.org", "guest")
	h.bob.submitOf(h.bob.enter(code), "/household/invitation/answer", "code", code, "answer", "accept")
	scenario, err := h.service.AddScenario(t.Context(), devices.Scenario{
		SiteID: h.site.ID, Label: "Away", Type: devices.Scheduled, Rule: []byte(`{"at":"07:00"}`), CreatedBy: h.owner.UserID, Steps: []devices.Step{{Device: h.socket, Operation: "off"}},
	})
	require.NoError(t, err)
	home := h.bob.get(h.path(""))
	require.Contains(t, home.body, "Away")
	for _, action := range []string{"/invite", "/withdraw", "/scenario", fmt.Sprintf("/member/%d", h.alice.UserID)} {
		require.NotContains(t, home.body, h.path(action))
	}
	// The token of a form of the same name, of a home of his own, is as good.
	own, err := h.service.AddSite(t.Context(), h.bob.UserID, "Own", "Europe/Paris")
	require.NoError(t, err)
	theirs := fmt.Sprintf("/household/%d", own.ID)
	token := h.bob.get(theirs).token(t, theirs+"/invite")
	require.Equal(t, http.StatusForbidden, h.bob.send("POST", h.path("/invite"), url.Values{"form_token": {token}, "email": {"eve@example.org"}, "role": {"member"}}).status)
	_, _, list, err := h.service.AddUnit(t.Context(), own.ID, []devices.NewDevice{{Kind: devices.Socket, Label: "Lamp"}})
	require.NoError(t, err)
	_, err = h.service.AddScenario(t.Context(), devices.Scenario{
		SiteID: own.ID, Label: "Own", Type: devices.Scheduled, Rule: []byte(`{"at":"07:00"}`), CreatedBy: h.bob.UserID, Steps: []devices.Step{{Device: list[0], Operation: "off"}},
	})
	require.NoError(t, err)
	token = h.bob.get(theirs).token(t, theirs+"/scenario")
	require.Equal(t, http.StatusForbidden, h.bob.send("POST", h.path("/scenario"), url.Values{"form_token": {token}, "scenario": {fmt.Sprint(scenario.ID)}, "answer": {"enable"}}).status)
	leave := h.path(fmt.Sprintf("/member/%d", h.bob.UserID))
	token = h.bob.get(leave).token(t, leave)
	require.Equal(t, http.StatusForbidden, h.bob.send("POST", h.path(fmt.Sprintf("/member/%d", h.alice.UserID)), url.Values{"form_token": {token}}).status)
}

func TestScenariosAreSwitchedOnTheirPage(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	add := func(label string, kind devices.ScenarioType, rule string) devices.Scenario {
		s, err := h.service.AddScenario(t.Context(), devices.Scenario{
			SiteID: h.site.ID, Label: label, Type: kind, Rule: []byte(rule), CreatedBy: h.owner.UserID, Steps: []devices.Step{{Device: h.socket, Operation: "on"}},
		})
		require.NoError(t, err)
		return s
	}
	timed := add("Dawn <b>", devices.Scheduled, `{"at":"07:00"}`)
	demand := add("Night", devices.OnDemand, `{}`)
	home := h.alice.get(h.path(""))
	require.Contains(t, home.body, "Dawn")
	require.Contains(t, home.body, "It runs when somebody plays it.")
	require.Contains(t, home.body, "Not planned")
	require.Equal(t, 1, strings.Count(home.body, `action="`+h.path("/scenario")+`"`), "what a person plays cannot be switched")
	press := func(id int64, answer string) page {
		return h.alice.submit(h.path(""), h.path("/scenario"), "scenario", fmt.Sprint(id), "answer", answer)
	}
	require.Equal(t, h.path("#scenarios"), press(timed.ID, "enable").location)
	home = h.alice.get(h.path(""))
	require.Contains(t, home.body, "The scenario runs by itself from now on.")
	require.NotContains(t, home.body, "Not planned")
	require.Regexp(t, `Next run</dt><dd><time datetime="20`, home.body)
	require.Equal(t, h.path("#scenarios"), press(timed.ID, "disable").location)
	require.Equal(t, []string{"Scenario “Dawn <b>” enabled by Alice", "Scenario “Dawn <b>” disabled by Alice"}, h.told(devices.HistoryScenario))
	require.Equal(t, http.StatusConflict, press(demand.ID, "enable").status)
	require.Equal(t, http.StatusNotFound, press(0, "enable").status)
	require.Equal(t, http.StatusBadRequest, press(timed.ID, "play").status)
	require.Equal(t, http.StatusBadRequest, h.alice.submit(h.path(""), h.path("/scenario"), "scenario", "x", "answer", "enable").status)

	h.alice.lang = "fr"
	require.Contains(t, h.alice.get(h.path("")).body, "Prochaine fois")
	require.Contains(t, h.alice.get("/household").body, "Mes logements")
}
