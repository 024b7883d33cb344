package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/internal/apitest"
	"github.com/foxbridge/foxbridge/oauth"
)

// Every answer that is described, of every operation and down to its error code, is one
// that somebody can be given: nothing is described that does not happen.
func TestEveryDescribedAnswerIsGiven(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "openapi.json"))
	require.NoError(t, err)
	checker, err := apitest.New(text)
	require.NoError(t, err)
	t.Run("by a bridge", func(t *testing.T) {
		for name, world := range map[string]struct {
			change func(*config.Config)
			live   func(*villa)
		}{
			"until its end":         {nil, (*villa).live},
			"with a silent unit":    {func(c *config.Config) { c.CommandWait = time.Millisecond }, (*villa).liveUnheard},
			"with hardly a request": {func(c *config.Config) { c.LimitAPI, c.LimitAddress, c.LimitTokenPersonal = 1, 1, 1 }, (*villa).liveThrottled},
			"with hardly a command": {func(c *config.Config) { c.LimitCommands, c.LimitAlarm = 1, 1 }, (*villa).liveOnABudget},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				world.live(newVilla(t, checker, world.change))
			})
		}
	})
	exchanges, operations, _ := checker.Seen()
	t.Logf("%d answers of %d operations are described, and were given in %d exchanges", len(checker.Described()), operations, exchanges)
	for _, missing := range checker.Missing() {
		t.Errorf("is described, and nobody was given it: %s", missing)
	}
}

// villa is a home with one of everything, its house, and the tokens of who may or may not
// do things there.
type villa struct {
	*front
	operations []apitest.Answer // of the description; only method and path are set
	rows       map[string]devices.Row
	site       devices.Site
	unit       devices.Unit
	things     map[devices.Kind]int64
	groups     map[devices.Kind]int64
	scenarios  map[devices.ScenarioType]int64
	command    string // ID of one, which is there once one was given

	owner, guest, nobody string            // tokens: of Alice, of Bob, of an application for itself
	scoped               map[string]string // of Alice, good for one scope alone

	mu     sync.Mutex
	answer func(devices.Order) *devices.Ack // nil: silence
	silent []devices.Order
	said   int64
}

func newVilla(t *testing.T, checker *apitest.Checker, change func(*config.Config)) *villa {
	t.Helper()
	f := newDescribedFront(t, checker, func(c *config.Config) {
		c.LimitAPI, c.LimitCommands, c.LimitAlarm, c.LimitTokenPersonal, c.LimitTokenCommercial, c.LimitAddress = 0, 0, 0, 0, 0, 0
		c.LaneDepth = 1
		if change != nil {
			change(c)
		}
	})
	v := &villa{
		front: f, rows: map[string]devices.Row{}, things: map[devices.Kind]int64{}, groups: map[devices.Kind]int64{},
		scenarios: map[devices.ScenarioType]int64{}, scoped: map[string]string{}, command: "019a0000-0000-7000-8000-000000000000",
	}
	for _, a := range checker.Described() {
		if last := len(v.operations) - 1; last < 0 || v.operations[last].Path != a.Path || v.operations[last].Method != a.Method {
			v.operations = append(v.operations, apitest.Answer{Method: a.Method, Path: a.Path})
		}
	}
	for _, row := range devices.Catalogue() {
		v.rows["/v2"+regexp.MustCompile(`\{(\w+)\}`).ReplaceAllString(row.Path, "{${1}Id}")] = row
	}
	f.record.Devices.SetSender(v)
	v.answer = v.done
	v.owner = v.token()
	v.furnish()
	return v
}

// furnish makes the home, and has its unit come.
func (v *villa) furnish() {
	ctx, house := v.t.Context(), v.record.Devices
	var err error
	v.site, err = house.AddSite(ctx, v.alice.ID, "Villa", "Europe/Paris")
	require.NoError(v.t, err)
	var wanted []devices.NewDevice
	for _, kind := range append(devices.DeviceKinds(), devices.GroupKinds()...) {
		wanted = append(wanted, devices.NewDevice{Kind: kind, Label: "The " + string(kind)})
	}
	unit, _, list, err := house.AddUnit(ctx, v.site.ID, wanted)
	require.NoError(v.t, err)
	v.unit = unit
	members := map[devices.Kind][]int64{}
	for _, d := range list {
		v.things[d.Kind] = d.ID
		members[d.Kind] = append(members[d.Kind], d.ID)
	}
	for _, kind := range devices.GroupKinds() {
		g, err := house.AddGroup(ctx, v.site.ID, kind, "All", members[kind])
		require.NoError(v.t, err)
		v.groups[kind] = g.ID
	}
	step := func(kind devices.Kind, operation string) devices.Step {
		return devices.Step{Device: devices.Device{ID: v.things[kind], Kind: kind}, Operation: operation}
	}
	for kind, rule := range map[devices.ScenarioType]string{devices.OnDemand: `{}`, devices.OnEvent: `{"event":"battery"}`} {
		s, err := house.AddScenario(ctx, devices.Scenario{
			SiteID: v.site.ID, Label: "Evening", Type: kind, Rule: json.RawMessage(rule), CreatedBy: v.alice.ID,
			Steps: []devices.Step{step(devices.Gate, "one"), step(devices.Heater, "eco")},
		})
		require.NoError(v.t, err)
		v.scenarios[kind] = s.ID
	}
	v.connect(devices.CatalogueVersion)
}

// connect has the unit come, with the catalogue that it knows.
func (v *villa) connect(catalogue int) {
	v.t.Helper()
	require.NoError(v.t, v.record.Devices.ReportLink(v.t.Context(), v.unit.ID, devices.LinkReport{Online: true, Session: "s", Clock: v.now, Catalogue: catalogue}))
}

// admit gets the tokens of others than the owner.
func (v *villa) admit() {
	ctx := v.t.Context()
	const bobEmail = "bob@example.com"
	bob, err := v.record.OAuth.AddUser(ctx, bobEmail, "Bob", alicePassword)
	require.NoError(v.t, err)
	c, secret, err := v.record.OAuth.AddClient(ctx, bobEmail, "Script")
	require.NoError(v.t, err)
	_, invitation, err := v.record.Devices.Invite(ctx, devices.Person{UserID: v.alice.ID, Name: "Alice", Email: aliceEmail}, v.site.ID, bobEmail, devices.Guest)
	require.NoError(v.t, err)
	_, err = v.record.Devices.Join(ctx, devices.Person{UserID: bob.ID, Name: "Bob", Email: bobEmail}, invitation)
	require.NoError(v.t, err)
	v.guest = v.accessOf(v.tokenRequest(client{c.ID, secret}, url.Values{"grant_type": {"password"}, "username": {bobEmail}, "password": {alicePassword}}))
	v.nobody = v.accessOf(v.tokenRequest(v.business, url.Values{"grant_type": {"client_credentials"}}))
	for _, scope := range []string{"history:read", "sensor:read"} {
		v.scoped[scope] = v.accessOf(v.tokenRequest(v.business, v.code(scope)))
	}
}

func (v *villa) accessOf(w *httptest.ResponseRecorder) string {
	v.t.Helper()
	require.Equal(v.t, http.StatusOK, w.Code, w.Body)
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(v.t, json.Unmarshal(w.Body.Bytes(), &tokens))
	return tokens.AccessToken
}

// RFC 7636 appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// code has Alice let the commercial application in, and gives its token request.
func (v *villa) code(scope string) url.Values {
	v.t.Helper()
	asked, err := v.record.OAuth.Authorize(v.t.Context(), oauth.AuthorizeRequest{
		ResponseType: "code", ClientID: v.business.id, RedirectURI: "https://weather.example.com/", State: "x",
		CodeChallenge: challenge, CodeChallengeMethod: "S256",
	})
	require.NoError(v.t, err)
	var ticket oauth.Hash
	rand.Read(ticket[:])
	to, err := v.record.OAuth.Consent(v.t.Context(), asked, oauth.Consent{UserID: v.alice.ID, Ticket: ticket, Scope: oauth.Scope{scope}})
	require.NoError(v.t, err)
	back, err := url.Parse(to)
	require.NoError(v.t, err)
	return url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "code_verifier": {verifier}}
}

// Send is of devices.Sender.
func (v *villa) Send(ctx context.Context, o devices.Order) error {
	v.mu.Lock()
	ack := v.answer(o)
	if ack == nil {
		v.silent = append(v.silent, o)
	}
	v.mu.Unlock()
	if ack == nil {
		return nil
	}
	return v.record.Devices.Acknowledge(ctx, o.UnitID, *ack)
}

// done is the answer of a house that does what it is told.
func (v *villa) done(o devices.Order) *devices.Ack {
	v.said++
	said := map[string]any{"mode": "off"} // which a heater has to say
	row, _ := devices.OperationOf(o.Kind, o.Operation)
	maps.Copy(said, row.Sets)
	readings, err := json.Marshal(said)
	require.NoError(v.t, err)
	return &devices.Ack{CommandID: o.CommandID, Outcome: devices.Done, State: &devices.StateReport{Sequence: v.said, Time: v.now, Readings: readings}}
}

func refuses(o devices.Order) *devices.Ack {
	return &devices.Ack{CommandID: o.CommandID, Outcome: devices.Refused, Reason: "something is in the way"}
}

func saysNothing(devices.Order) *devices.Ack { return nil }

// house lets it answer so from now on, and catch up with what it did not answer before.
func (v *villa) house(answer func(devices.Order) *devices.Ack) {
	v.t.Helper()
	v.mu.Lock()
	late := v.silent
	v.silent, v.answer = nil, answer
	var acks []devices.Ack
	for _, o := range late {
		acks = append(acks, *v.done(o))
	}
	v.mu.Unlock()
	for _, ack := range acks {
		require.NoError(v.t, v.record.Devices.Acknowledge(v.t.Context(), v.unit.ID, ack))
	}
	require.NoError(v.t, v.record.Devices.Drain(v.t.Context()))
}

// target is the path of an operation at the home.
func (v *villa) target(o apitest.Answer) string { return v.at(o, v.site.ID) }

func (v *villa) at(o apitest.Answer, site int64) string {
	row := v.rows[o.Path]
	scenario := v.scenarios[devices.OnEvent]
	if row.Action == devices.PlayScenario {
		scenario = v.scenarios[devices.OnDemand]
	}
	number := func(n int64) string { return strconv.FormatInt(max(n, 1), 10) }
	return strings.NewReplacer("{siteId}", number(site), "{deviceId}", number(v.things[row.Kind]), "{groupId}", number(v.groups[row.Kind]),
		"{scenarioId}", number(scenario), "{videoId}", "1", "{commandId}", v.command).Replace(o.Path)
}

// call asks for an operation with a token.
func (v *villa) call(o apitest.Answer, token string, header ...string) *httptest.ResponseRecorder {
	return v.send(o.Method, v.target(o), "", append([]string{"Authorization", "Bearer " + token}, header...)...)
}

// bearer lists the operations that take a token.
func (v *villa) bearer() []apitest.Answer {
	var list []apitest.Answer
	for _, o := range v.operations {
		if strings.HasPrefix(o.Path, "/v2/") || o.Path == "/oauth2/userinfo" {
			list = append(list, o)
		}
	}
	return list
}

// commands lists the operations that the house hears of.
func (v *villa) commands() []apitest.Answer {
	var list []apitest.Answer
	for _, o := range v.operations {
		if row := v.rows[o.Path]; row.Action == devices.Operate || row.Action == devices.OperateGroup || row.Action == devices.PlayScenario {
			list = append(list, o)
		}
	}
	return list
}

const (
	formType   = "application/x-www-form-urlencoded"
	tooLongOne = 65 << 10
)

// live lives with a bridge that is well, then stopping, then without its database.
func (v *villa) live() {
	v.liveWell()
	v.liveInHaste()
	v.liveWithoutRecord()
}

// liveWell asks for everything, rightly and wrongly.
func (v *villa) liveWell() {
	v.admit()
	home := apitest.Answer{Method: "GET", Path: "/v2/site/{siteId}/security"}
	for _, path := range []string{"", "/get"} { // of the home whose unit never came
		v.send("GET", v.at(home, v.siteID)+path, "", "Authorization", "Bearer "+v.owner)
	}
	v.command = v.call(apitest.Answer{Method: "POST", Path: "/v2/site/{siteId}/security/set/armed"}, v.owner).Header().Get("Foxbridge-Command-Id")
	require.NotEmpty(v.t, v.command)
	for _, o := range v.bearer() {
		v.call(o, v.owner)
		v.call(o, "none")
		v.call(o, v.guest)
		v.call(o, v.nobody)
		other := "history:read"
		if v.rows[o.Path].Scope == other {
			other = "sensor:read"
		}
		v.call(o, v.scoped[other])
		v.send(o.Method, v.at(o, 1<<40), "", "Authorization", "Bearer "+v.owner)
		v.send(o.Method, v.target(o)+"?access_token="+v.owner, "", "Authorization", "Bearer "+v.owner)
		v.send(o.Method, v.target(o)+"?dateFrom=yesterday", "", "Authorization", "Bearer "+v.owner)
		if o.Method == http.MethodPost {
			v.send(o.Method, v.target(o), "access_token="+strings.Repeat("x", tooLongOne))
		}
		if v.rows[o.Path].Action == devices.SwitchScenario {
			onDemand := strings.ReplaceAll(o.Path, "{scenarioId}", strconv.FormatInt(v.scenarios[devices.OnDemand], 10))
			v.call(apitest.Answer{Method: o.Method, Path: onDemand}, v.owner)
		}
	}
	v.liveWithTheHouse()
	v.liveAsClient()
	v.liveInBrowser()
}

// liveWithTheHouse gives every command to a house that is not always ready for it.
func (v *villa) liveWithTheHouse() {
	for _, o := range v.commands() {
		v.call(o, v.owner, "Idempotency-Key", strings.Repeat("x", 256))
		key := []string{"Idempotency-Key", "key of " + o.Method + " " + o.Path}
		key[1] = strings.ReplaceAll(key[1], " ", "-")
		v.call(v.sibling(o), v.owner, key...)
		v.call(o, v.owner, key...)

		v.house(saysNothing)
		v.call(o, v.owner, "Prefer", "respond-async")
		v.call(o, v.owner)
		v.house(refuses)
		v.call(o, v.owner)
		refused := false
		v.house(func(o devices.Order) *devices.Ack {
			if refused {
				return v.done(o)
			}
			refused = true
			return refuses(o)
		})
		v.call(o, v.owner)
		v.house(v.done)
	}
	v.connect(1)
	for _, o := range v.commands() {
		v.call(o, v.owner)
	}
	require.NoError(v.t, v.record.Devices.ReportLink(v.t.Context(), v.unit.ID, devices.LinkReport{Session: "s"}))
	for _, o := range v.commands() {
		v.call(o, v.owner)
	}
}

// sibling is another command to the same device or group.
func (v *villa) sibling(o apitest.Answer) apitest.Answer {
	row := v.rows[o.Path]
	for path, other := range v.rows {
		if other.Action == row.Action && other.Kind == row.Kind && other.Operation != row.Operation {
			return apitest.Answer{Method: o.Method, Path: path}
		}
	}
	return o
}

// liveUnheard gives every command to a house that never answers.
func (v *villa) liveUnheard() {
	v.house(saysNothing)
	for _, o := range v.commands() {
		v.call(o, v.owner)
	}
}

// liveThrottled asks more often than is allowed.
func (v *villa) liveThrottled() {
	for _, o := range v.operations {
		for range 3 {
			v.call(o, v.owner)
		}
		v.call(o, "none")
	}
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/device_authorization", "/oauth2/authorize"} {
		v.send("POST", path, "client_id=x")
	}
}

// liveOnABudget gives more commands than is allowed.
func (v *villa) liveOnABudget() {
	for _, o := range v.operations {
		if v.rows[o.Path].Commands() {
			v.call(o, v.owner)
			v.call(o, v.owner)
		}
	}
}

// liveInHaste gives every request up.
func (v *villa) liveInHaste() {
	v.owner = v.token() // the other has ended
	given := v.handler
	v.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		given.ServeHTTP(w, r.WithContext(ctx))
	})
	v.everything()
	v.handler = given
}

// liveWithoutRecord asks for everything of a bridge that can read nothing.
func (v *villa) liveWithoutRecord() {
	require.NoError(v.t, v.record.Close())
	v.everything()
}

// everything asks for each operation as it should be asked.
func (v *villa) everything() {
	for _, o := range v.bearer() {
		v.call(o, v.owner)
	}
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/device_authorization"} {
		v.client(v.personal, path, url.Values{"grant_type": {"password"}, "username": {aliceEmail}, "password": {alicePassword}, "token": {v.owner}})
	}
	v.send("GET", "/oauth2/authorize?"+v.asking().Encode(), "")
	v.send("POST", "/oauth2/authorize", v.asking().Encode())
}

// client asks as an application does, with its credentials in the body.
func (v *villa) client(c client, path string, form url.Values, header ...string) *httptest.ResponseRecorder {
	form.Set("client_id", c.id)
	form.Set("client_secret", c.secret)
	return v.send("POST", path, form.Encode(), header...)
}

// liveAsClient asks for all that applications ask the authorization server for.
func (v *villa) liveAsClient() {
	pending, secret, err := v.record.OAuth.RequestCommercial(v.t.Context(), oauth.CommercialRequest{
		OwnerEmail: aliceEmail, Name: "Later", RedirectURIs: []string{"https://later.example.com/"}, Scopes: devices.Scopes(),
	})
	require.NoError(v.t, err)
	wrong := client{v.personal.id, strings.Repeat("0", 64)}
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/device_authorization"} {
		form := func() url.Values {
			return url.Values{"grant_type": {"password"}, "username": {aliceEmail}, "password": {alicePassword}, "token": {"t"}}
		}
		v.client(v.personal, path, form())
		v.client(client{pending.ID, secret}, path, form())
		v.client(v.business, path, form())
		v.client(wrong, path, form())
		v.client(v.personal, path, url.Values{"grant_type": {"password", "password"}, "token": {"t", "t"}, "client_id": {"a", "b"}, "scope": {"a", "b"}})
		v.send("POST", path, form().Encode(), "Authorization", "Basic eDp4")
		v.send("POST", path, strings.Repeat("x", tooLongOne))
	}
	v.tokenRequest(v.personal, url.Values{"grant_type": {"password"}, "username": {aliceEmail}, "password": {"wrong"}})
	v.tokenRequest(v.personal, url.Values{"grant_type": {"magic"}})
	v.tokenRequest(v.business, url.Values{"grant_type": {"client_credentials"}, "scope": {"everything"}})
	v.liveWithADevice()
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource", "/openapi.json"} {
		tag := v.send("GET", path, "").Header().Get("ETag")
		v.send("GET", path, "", "If-None-Match", tag)
	}
}

// liveWithADevice asks for the tokens of what has no browser.
func (v *villa) liveWithADevice() {
	begin := func() (deviceCode, userCode string) {
		var d struct {
			DeviceCode string `json:"device_code"`
			UserCode   string `json:"user_code"`
		}
		require.NoError(v.t, json.Unmarshal(v.client(v.personal, "/oauth2/device_authorization", url.Values{}).Body.Bytes(), &d))
		return d.DeviceCode, d.UserCode
	}
	poll := func(code string) {
		v.tokenRequest(v.personal, url.Values{"grant_type": {oauth.GrantDevice}, "device_code": {code}})
	}
	code, _ := begin()
	poll(code)
	poll(code)
	denied, user := begin()
	_, err := v.record.OAuth.AnswerDevice(v.t.Context(), v.alice.ID, user, false, netip.MustParseAddr(stranger))
	require.NoError(v.t, err)
	poll(denied)
	v.now = v.now.Add(time.Hour)
	poll(code)
}

// asking is a request of an application to let it in.
func (v *villa) asking() url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {v.business.id}, "redirect_uri": {"https://weather.example.com/"}, "state": {"x"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
}

// liveInBrowser goes to where an application sends people.
func (v *villa) liveInBrowser() {
	signedIn, unknown := v.session(), url.Values{"client_id": {"x"}}
	v.send("POST", "/oauth2/authorize", strings.Repeat("x", tooLongOne))
	for _, try := range []struct {
		form   url.Values
		header []string
	}{
		{v.asking(), nil}, {v.asking(), []string{"Cookie", signedIn}}, {unknown, nil}, {unknown, []string{"Authorization", "Basic eDp4"}},
	} {
		v.send("GET", "/oauth2/authorize?"+try.form.Encode(), "", try.header...)
		v.send("POST", "/oauth2/authorize", try.form.Encode(), try.header...)
	}
}
