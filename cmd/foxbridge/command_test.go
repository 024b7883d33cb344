package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

// execute runs a command line inside the test.
func execute(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), process{args: args, stdin: strings.NewReader(stdin), stdout: &out, stderr: &err})
	return code, out.String(), err.String()
}

func TestMistakesOnTheCommandLineAreUsageErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"nonsense"},
		{"user", "nonsense"},
		{"user", "add"},
		{"user", "add", "a@example.com", "--name", "A", "--password-stdin", "--password-file", "x"},
		{"user", "passwd"},
		{"user", "passwd", "a@example.com", "--password-stdin", "--password-file", "x"},
		{"user", "operator"},
		{"unit", "secret", "0123456789abcdef"},
		{"unit", "secret", "0123456789abcdef", "--reset=false"},
		{"app", "approve", "a", "--reason", "b"},
		{"app", "add", "--owner", "a@example.com"},
		{"app", "request", "--owner", "a@example.com", "--name", "A"},
		{"app", "approve"},
		{"app", "reject", "a", "b"},
		{"app", "deactivate", "a"},
		{"app", "reactivate"},
		{"app", "limits", "a", "--hour", "1"},
		{"app", "limits", "a", "--hour", "1", "--day", "1", "--default"},
		{"app", "limits", "a", "--hour", "many", "--day", "1"},
		{"app", "history"},
		{"app", "history", "a", "--last", "0"},
		{"user", "disable"},
		{"user", "enable", "a", "b"},
		{"serve", "--issuance-mode", "sometimes"},
		{"serve", "--issuance-lever", "crowbar"},
		{"serve", "--issuance-hour", "-1"},
		{"app", "secret", "nonsense"},
		{"app", "secret", "add"},
		{"app", "secret", "remove", "a"},
		{"app", "secret", "remove", "a", "b"},
		{"site", "add", "--label", "Home"},
		{"unit", "add"},
		{"unit", "add", "--site", "one"},
		{"simulate", "--unit-file", "x"},
		{"simulate", "--unit-file", "x", "--mqtt-url", "tcp://127.0.0.1:1", "--travel", "0s"},
		{"serve", "--nonsense"},
		{"serve", "more"},
		{"serve", "--command-wait", "1m"},
		{"serve", "--public-url", "http://home.example.com"},
		{"demo", "--command-wait", "5s"},
		{"migrate", "--database-url", "mysql://x"},
		{"policy", "simulate", "--clients", "0"},
		{"policy", "simulate", "--clients", "100001"},
		{"policy", "simulate", "--days", "367"},
		{"policy", "simulate", "--seed", "-1"},
		{"policy", "simulate", "--policy", "/nowhere"},
		{"policy", "simulate", "more"},
		{"bench", "--callers", "0"},
		{"bench", "--rounds", "1001"},
		{"bench", "--round", "61s"},
		{"bench", "--database-url", "mysql://x"},
		{"version", "--nonsense"},
	} {
		code, stdout, stderr := execute(t, "", args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, stderr)
		require.Empty(t, stdout, "%v", args)
		require.Regexp(t, `^foxbridge: .+\n$`, stderr, "%v: one line", args)
	}
}

func TestWhatCannotBeDoneFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"user", "add", "no-address", "--name", "A", "--data-dir", dir},
		{"user", "add", "a@example.com", "--name", "A", "--data-dir", dir, "--password-file", "/nowhere"},
		{"user", "passwd", "nobody@example.com", "--data-dir", dir},
		{"user", "passwd", "no-address", "--data-dir", dir},
		{"user", "operator", "nobody@example.com", "--data-dir", dir},
		{"unit", "secret", "0123456789abcdef", "--reset", "--data-dir", dir},
		{"unit", "secret", "nobody", "--reset", "--data-dir", dir},
		{"app", "reject", "nobody", "--reason", strings.Repeat("x", 501), "--data-dir", dir},
		{"user", "add", "a@example.com", "--name", "", "--data-dir", dir},
		{"app", "add", "--owner", "nobody@example.com", "--name", "A", "--data-dir", dir},
		{"app", "request", "--owner", "nobody@example.com", "--name", "A", "--redirect-uri", "https://a.example.com/", "--data-dir", dir},
		{"app", "request", "--owner", "nobody@example.com", "--name", "A", "--redirect-uri", "http://a.example.com/", "--data-dir", dir},
		{"app", "request", "--owner", "nobody@example.com", "--name", "A", "--redirect-uri", "https://a.example.com/", "--scope", "everything", "--data-dir", dir},
		{"app", "approve", "nobody", "--data-dir", dir},
		{"app", "reject", "nobody", "--data-dir", dir},
		{"app", "deactivate", "nobody", "--reason", "r", "--data-dir", dir},
		{"app", "deactivate", "00000000000000000000000000000000", "--reason", "r", "--data-dir", dir},
		{"app", "reactivate", "00000000000000000000000000000000", "--data-dir", dir},
		{"app", "limits", "nobody", "--data-dir", dir},
		{"app", "limits", "nobody", "--hour", "1", "--day", "1", "--data-dir", dir},
		{"app", "limits", "nobody", "--hour", "-1", "--day", "1", "--data-dir", dir},
		{"app", "history", "nobody", "--data-dir", dir},
		{"user", "disable", "nobody@example.com", "--data-dir", dir},
		{"user", "enable", "no-address", "--data-dir", dir},
		{"app", "legacy", "nobody", "on", "--data-dir", dir},
		{"app", "delete", "nobody", "--data-dir", dir},
		{"app", "secret", "add", "nobody", "--data-dir", dir},
		{"app", "secret", "list", "nobody", "--data-dir", dir},
		{"app", "secret", "remove", "nobody", "1", "--data-dir", dir},
		{"site", "add", "--owner", "nobody@example.com", "--label", "A", "--data-dir", dir},
		{"unit", "add", "--site", "7", "--data-dir", dir},
		{"unit", "add", "--site", "7", "--device", "toaster:Kitchen", "--data-dir", dir},
		{"unit", "add", "--site", "7", "--device", "toaster", "--data-dir", dir},
		{"simulate", "--unit-file", "/nowhere", "--mqtt-url", "tcp://127.0.0.1:1"},
		{"user", "list", "--data-dir", "/dev/null/x"},
	} {
		code, _, stderr := execute(t, "", args...)
		require.Equal(t, exitFail, code, "%v: %s", args, stderr)
		require.Regexp(t, `^foxbridge: .+`, stderr, "%v", args)
	}
}

func TestPasswordOfANewPerson(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	add := func(stdin, email string, more ...string) (int, user, string) {
		args := append([]string{"user", "add", email, "--name", "A", "--data-dir", dir, "--json"}, more...)
		code, stdout, stderr := execute(t, stdin, args...)
		var u user
		if code == exitOK {
			require.NoError(t, json.Unmarshal([]byte(stdout), &u))
		}
		return code, u, stderr
	}
	code, u, _ := add("", "made-up@example.com")
	require.Equal(t, exitOK, code)
	require.GreaterOrEqual(t, len(u.Password), 20, "made up, and shown this once")

	code, u, _ = add("given by pipe\nnot this\n", "stdin@example.com", "--password-stdin")
	require.Equal(t, exitOK, code)
	require.Empty(t, u.Password)

	code, _, stderr := add("", "empty@example.com", "--password-stdin")
	require.Equal(t, exitFail, code)
	require.Contains(t, stderr, "empty")

	code, _, stderr = add("", "made-up@example.com")
	require.Equal(t, exitFail, code)
	require.Contains(t, stderr, "taken")
	code, _, stderr = execute(t, "", "user", "add", "Made-Up@example.com", "--data-dir", dir)
	require.Equal(t, exitFail, code)
	require.Equal(t, "foxbridge: email is taken: there is an account with this address already\n", stderr)
	code, stdout, _ := execute(t, "", "user", "add", "bob.martin@example.com", "--data-dir", dir)
	require.Equal(t, exitOK, code)
	require.Regexp(t, `(?m)^name +bob\.martin$`, stdout)
}

// What is refused is named as it is written, before anything is made.
func TestSettingsThatContradictEachOtherMakeNothing(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"serve", "user add a@example.com"} {
		dir := filepath.Join(t.TempDir(), "data")
		var stdout, stderr bytes.Buffer
		p := process{
			args:    append(strings.Fields(command), "--data-dir", dir),
			environ: []string{"FOXBRIDGE_ISSUANCE_HOUR=30", "FOXBRIDGE_ISSUANCE_DAY=20", "FOXBRIDGE_HTTP=127.0.0.1:0"},
			stdout:  &stdout, stderr: &stderr,
		}
		require.Equal(t, exitFail, run(t.Context(), p))
		require.Contains(t, stderr.String(), "issuance-hour, issuance-day: the 20 of a day are less than the 30 of an hour")
		require.NoDirExists(t, dir)
	}
}

// The field names that programs rely on.
func TestJSONFieldsAreStable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fields := func(args ...string) map[string]any {
		code, stdout, stderr := execute(t, "", append(args, "--data-dir", dir, "--json")...)
		require.Equal(t, exitOK, code, stderr)
		var object map[string]any
		if strings.HasPrefix(stdout, "[") {
			var rows []map[string]any
			require.NoError(t, json.Unmarshal([]byte(stdout), &rows))
			require.Len(t, rows, 1)
			return rows[0]
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &object))
		return object
	}
	has := func(object map[string]any, names ...string) {
		t.Helper()
		var got []string
		for name := range object {
			got = append(got, name)
		}
		require.ElementsMatch(t, names, got)
	}
	has(fields("migrate"), "database", "status")
	has(fields("user", "add", "a@example.com", "--name", "A"), "id", "email", "name", "created_at", "operator", "password")
	has(fields("user", "passwd", "a@example.com"), "id", "email", "name", "created_at", "operator", "password")
	has(fields("user", "operator", "a@example.com"), "id", "email", "name", "created_at", "operator")
	has(fields("user", "list"), "id", "email", "name", "created_at", "operator")
	has(fields("app", "add", "--owner", "a@example.com", "--name", "S"), "client_id", "client_secret", "name", "kind", "status", "owner_id", "created_at")
	listedApp := fields("app", "list")
	has(listedApp, "client_id", "name", "kind", "status", "owner_id", "owner", "created_at", "secrets")
	has(listedApp["secrets"].([]any)[0].(map[string]any), "id", "created_at", "last_used_at")
	code, _, stderr := execute(t, "", "app", "request", "--owner", "a@example.com", "--name", "C", "--redirect-uri", "https://c.example.com/", "--registrations", "1", "--data-dir", dir)
	require.Equal(t, exitFail, code)
	require.Regexp(t, `owner has registered 1 applications within a day; the next may follow at \d{4}-\d\d-\d\d \d\d:\d\d UTC`, stderr)
	requested := fields("app", "request", "--owner", "a@example.com", "--name", "C", "--redirect-uri", "https://c.example.com/")
	has(requested, "client_id", "client_secret", "name", "kind", "status", "owner_id", "created_at", "commercial")
	has(requested["commercial"].(map[string]any), "description", "home_page", "redirect_uris", "scope", "public", "require_pkce", "require_scope", "legacy", "edition")
	has(fields("app", "approve", requested["client_id"].(string)), "client_id", "status")
	has(fields("app", "secret", "add", requested["client_id"].(string)), "client_id", "client_secret")
	has(fields("app", "secret", "list", listedApp["client_id"].(string)), "id", "created_at", "last_used_at")
	has(fields("app", "secret", "remove", listedApp["client_id"].(string), "1", "--last"), "client_id", "secret_id")
	has(fields("site", "add", "--owner", "A@example.com", "--label", "Home"), "site_id", "label", "timezone", "language", "owner", "created_at")
	has(fields("unit", "add", "--site", "1", "--device", "socket:Lamp: the big one"), "unit_id", "password", "site_id", "devices")
	has(fields("site", "group", "add", "--site", "1", "--kind", "socket", "--label", "All", "--device", "1"), "group_id", "site_id", "kind", "label", "devices")
	has(fields("site", "group", "list", "--owner", "a@example.com", "--site", "1"), "group_id", "site_id", "kind", "label", "devices")
	has(fields("site", "scenario", "add", "--owner", "a@example.com", "--site", "1", "--label", "Off", "--step", "socket/off:1", "--step", "security/armed"),
		"scenario_id", "site_id", "label", "type", "enabled", "rule", "next_at")
	has(fields("site", "scenario", "list", "--owner", "a@example.com", "--site", "1"), "scenario_id", "site_id", "label", "type", "enabled", "rule", "next_at")
	has(fields("site", "members", "--owner", "a@example.com", "--site", "1"), "site_id", "email", "name", "role")
	invited := fields("site", "invite", "--owner", "a@example.com", "--site", "1", "--email", "b@example.com", "--role", "guest")
	has(invited, "site_id", "email", "role", "code", "expires_at")
	fields("user", "add", "b@example.com", "--name", "B")
	has(fields("site", "join", "--email", "b@example.com", "--code", invited["code"].(string)), "site_id", "email", "name", "role")
	has(fields("unit", "secret", fields("unit", "list")["unit_id"].(string), "--reset"), "unit_id", "password")
	has(fields("unit", "list"), "unit_id", "site_id", "online", "firmware", "catalogue", "clock_offset_ms", "seen_at", "created_at")
	listed := fields("site", "list")
	has(listed, "site_id", "label", "timezone", "language", "owner", "devices", "created_at")
	require.Equal(t, map[string]any{"socket": 1.0}, listed["devices"])
}

func TestAnInvitationIsWithdrawn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	do := func(want int, args ...string) (stdout string) {
		t.Helper()
		code, stdout, stderr := execute(t, "", append(args, "--data-dir", dir)...)
		require.Equal(t, want, code, stderr)
		return stdout
	}
	for _, name := range []string{"a", "b"} {
		do(exitOK, "user", "add", name+"@example.com", "--name", name)
	}
	do(exitOK, "site", "add", "--owner", "a@example.com", "--label", "Home")
	var invited struct{ Code string }
	require.NoError(t, json.Unmarshal([]byte(do(exitOK, "site", "invite", "--owner", "a@example.com", "--site", "1", "--email", "b@example.com", "--json")), &invited))
	withdraw := []string{"site", "uninvite", "--owner", "a@example.com", "--site", "1", "--email", "B@example.com"}
	do(exitOK, withdraw...)
	do(exitFail, withdraw...)
	do(exitFail, "site", "join", "--email", "b@example.com", "--code", invited.Code)
}

// What an administrator does for a commercial application, from the request to the
// change of its secret.
func TestCommercialApplicationIsRequestedAndApproved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	do := func(out any, args ...string) (stderr string) {
		t.Helper()
		code, stdout, stderr := execute(t, "", append(args, "--data-dir", dir, "--json")...)
		if out == nil {
			require.Equal(t, exitFail, code, stdout)
			return stderr
		}
		require.Equal(t, exitOK, code, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), out))
		return stderr
	}
	var person user
	do(&person, "user", "add", "maker@example.com", "--name", "Maker")
	var requested, public, refused application
	do(&requested, "app", "request", "--owner", "Maker@example.com", "--name", "Weather", "--description", "Closes shutters before it rains.",
		"--home-page", "https://weather.example.com", "--redirect-uri", "https://weather.example.com/back", "--redirect-uri", "http://127.0.0.1/back",
		"--scope", "shutter:read", "--scope", "shutter:operate", "--require-pkce", "--require-scope")
	require.Equal(t, oauth.Pending, requested.Status)
	require.Len(t, requested.ClientSecret, 64)
	require.Equal(t, &commercial{
		Description: "Closes shutters before it rains.", HomePage: "https://weather.example.com",
		RedirectURIs: []string{"https://weather.example.com/back", "http://127.0.0.1/back"},
		Scope:        "shutter:operate shutter:read", RequirePKCE: true, RequireScope: true,
	}, requested.Commercial)
	do(&public, "app", "request", "--owner", "maker@example.com", "--name", "Phone", "--redirect-uri", "com.example.phone:/back", "--public")
	require.Empty(t, public.ClientSecret, "it could keep none")
	require.Equal(t, oauth.NewScope(devices.Scopes()...).String(), public.Commercial.Scope, "all, if none is named")
	do(&refused, "app", "request", "--owner", "maker@example.com", "--name", "Spy", "--redirect-uri", "https://spy.example.com/")

	var decided struct{ Status oauth.Status }
	do(&decided, "app", "approve", requested.ClientID)
	require.Equal(t, oauth.Active, decided.Status)
	do(&decided, "app", "reject", refused.ClientID)
	require.Equal(t, oauth.Rejected, decided.Status)
	require.Contains(t, do(nil, "app", "approve", requested.ClientID), "names no pending application", "it is decided")
	require.Contains(t, do(nil, "app", "approve", refused.ClientID), "names no pending application", "it is decided")

	statuses := func() map[string]application {
		var all []application
		do(&all, "app", "list")
		byID := make(map[string]application)
		for _, a := range all {
			require.Empty(t, a.ClientSecret)
			byID[a.ClientID] = a
		}
		return byID
	}
	listed := statuses()
	require.Equal(t, oauth.Active, listed[requested.ClientID].Status)
	require.Equal(t, oauth.Rejected, listed[refused.ClientID].Status)
	require.Equal(t, oauth.Pending, listed[public.ClientID].Status)
	require.Empty(t, listed[public.ClientID].Secrets)
	require.Len(t, listed[requested.ClientID].Secrets, 1)
	require.Nil(t, listed[requested.ClientID].Secrets[0].LastUsedAt)

	var second application
	do(&second, "app", "secret", "add", requested.ClientID)
	require.NotEqual(t, requested.ClientSecret, second.ClientSecret)
	require.Contains(t, do(nil, "app", "secret", "add", requested.ClientID), "has two secrets already")
	require.Contains(t, do(nil, "app", "secret", "add", public.ClientID), "names no application that has secrets")
	both := statuses()[requested.ClientID].Secrets
	require.Len(t, both, 2)
	var told []secret
	do(&told, "app", "secret", "list", requested.ClientID)
	require.Equal(t, both, told)
	do(&told, "app", "secret", "list", public.ClientID)
	require.Empty(t, told)
	code, table, _ := execute(t, "", "app", "list", "--data-dir", dir)
	require.Equal(t, exitOK, code)
	require.Regexp(t, `(?m)SECRETS +CREATED$`, table)
	require.Regexp(t, `(?m)^`+requested.ClientID+` .* 2 +20\S+$`, table, "how many, whatever their numbers")
	var removed struct{}
	do(&removed, "app", "secret", "remove", requested.ClientID, strconv.FormatInt(both[1].ID, 10))
	require.Equal(t, both[:1], statuses()[requested.ClientID].Secrets)
	require.Contains(t, do(nil, "app", "secret", "remove", requested.ClientID, strconv.FormatInt(both[1].ID, 10)), "is not one of the application")
	only := strconv.FormatInt(both[0].ID, 10)
	require.Contains(t, do(nil, "app", "secret", "remove", requested.ClientID, only), "--last")
	require.Len(t, statuses()[requested.ClientID].Secrets, 1)
	do(&removed, "app", "secret", "remove", requested.ClientID, only, "--last")
	require.Empty(t, statuses()[requested.ClientID].Secrets)
}

func TestEmptyListsAreEmptyArrays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, _, stderr := execute(t, "", "migrate", "--data-dir", dir)
	require.Equal(t, exitOK, code, stderr)
	for _, what := range []string{"user", "app", "site", "unit"} {
		code, stdout, stderr := execute(t, "", what, "list", "--json", "--data-dir", dir)
		require.Equal(t, exitOK, code, stderr)
		require.Equal(t, "[]\n", stdout)
	}
}

func TestTablesHaveHeads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, stdout, stderr := execute(t, "", "user", "add", "a@example.com", "--name", "A person", "--data-dir", dir)
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, stdout, "cannot be shown again")
	code, stdout, stderr = execute(t, "", "user", "list", "--data-dir", dir)
	require.Equal(t, exitOK, code, stderr)
	require.Regexp(t, `(?m)^ID +EMAIL +NAME +OPERATOR +CREATED\n1 +a@example\.com +A person +false +\d{4}-`, stdout)
}

func TestSettingsComeFromTheEnvironmentToo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "there")
	var stdout, stderr bytes.Buffer
	p := process{args: []string{"migrate"}, environ: []string{"FOXBRIDGE_DATA_DIR=" + dir}, stdout: &stdout, stderr: &stderr}
	require.Equal(t, exitOK, run(t.Context(), p), stderr.String())
	require.FileExists(t, filepath.Join(dir, "foxbridge.db"))

	p.environ = append(p.environ, "FOXBRIDGE_NONSENSE=1")
	require.Equal(t, exitUsage, run(t.Context(), p))
	require.Contains(t, stderr.String(), "FOXBRIDGE_NONSENSE")
}

// The help of serve is the reference: every setting with its variable.
func TestHelpOfServeIsTheReference(t *testing.T) {
	t.Parallel()
	code, stdout, _ := execute(t, "", "serve", "--help")
	require.Equal(t, exitOK, code)
	for _, name := range []string{"--http", "--database-url-file", "FOXBRIDGE_COMMAND_WAIT", "--config", "FOXBRIDGE_CONFIG", "1s to 9s"} {
		require.Contains(t, stdout, name)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	recorded := func(info debug.BuildInfo, ok bool) func() (*debug.BuildInfo, bool) {
		return func() (*debug.BuildInfo, bool) { return &info, ok }
	}
	vcs := func(modified string) debug.BuildInfo {
		return debug.BuildInfo{Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}, {Key: "vcs.modified", Value: modified},
		}}
	}
	module := debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}
	for want, got := range map[string]string{
		"v9":                 versionOf("v9", recorded(vcs("true"), true)),
		"0123456789ab":       versionOf("", recorded(vcs("false"), true)),
		"0123456789ab-dirty": versionOf("", recorded(vcs("true"), true)),
		"v1.2.3":             versionOf("", recorded(module, true)),
		"unknown":            versionOf("", recorded(debug.BuildInfo{}, false)),
	} {
		require.Equal(t, want, got)
	}
	code, stdout, _ := execute(t, "", "version", "--json")
	require.Equal(t, exitOK, code)
	var s stamp
	require.NoError(t, json.Unmarshal([]byte(stdout), &s))
	require.NotEmpty(t, s.Version)
	require.Regexp(t, `^go1\.`, s.Go)
}
