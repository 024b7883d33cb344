package config_test

import (
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
)

// source is everything a user can give: arguments, variables, the text of a file.
type source struct {
	args []string
	env  []string
	file string
}

func load(t testing.TB, s source) (config.Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFileFlag(flags)
	config.AddFlags(flags)
	args := s.args
	if s.file != "" {
		args = append([]string{"--config", write(t, "settings.yaml", s.file)}, args...)
	}
	require.NoError(t, flags.Parse(args))
	return config.Load(flags, s.env)
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	c, err := load(t, source{})
	require.NoError(t, err)
	require.NoError(t, c.Validate())
	want := config.Config{
		HTTP: "127.0.0.1:8080", MQTT: "127.0.0.1:1883", Operator: "127.0.0.1:9464",
		DataDir: "./data", BridgeID: "bridge", CommandWait: 8 * time.Second, CommandGet: true,
		LaneDepth: 16, LimitAPI: 1200, LimitCommands: 120, LimitAlarm: 30, LimitTokenPersonal: 1200, LimitTokenCommercial: 12_000,
		LimitAddress: 600, PasswordQueue: 64,
		IssuanceMode: "enforce", IssuanceLever: "off", IssuanceHour: 20, IssuanceDay: 100, IssuanceSeries: 200, HTTPConnections: 10_000, Registrations: 20, MQTTConnections: 10_000,
		ScenarioTolerance:   2 * time.Minute,
		MeasurementInterval: time.Minute, MeasurementRaw: 14 * 24 * time.Hour, MeasurementKeep: 365 * 24 * time.Hour, HistoryKeep: 365 * 24 * time.Hour,
		LogFormat: "text", LogLevel: "info", ShutdownTimeout: 20 * time.Second,
	}
	require.Empty(t, cmp.Diff(want, c))
}

func TestLimitsAreSharedThroughPostgreSQLOnly(t *testing.T) {
	t.Parallel()
	for url, refused := range map[string]bool{"": true, "sqlite:x.db": true, "postgres://a@127.0.0.1/b": false} {
		c, err := load(t, source{args: []string{"--limits-shared", "--database-url=" + url}})
		require.NoError(t, err)
		err = c.Validate()
		require.Equal(t, refused, err != nil, url)
		if refused {
			require.ErrorContains(t, err, "limits-shared")
		}
	}
}

func TestLimitsOfADayAreNotBelowThoseOfAnHour(t *testing.T) {
	t.Parallel()
	for limits, refused := range map[[2]string]bool{{"30", "20"}: true, {"30", "0"}: false, {"0", "20"}: false, {"20", "20"}: false} {
		c, err := load(t, source{args: []string{"--issuance-hour=" + limits[0], "--issuance-day=" + limits[1]}})
		require.NoError(t, err)
		err = c.Validate()
		require.Equal(t, refused, err != nil, limits)
		if refused {
			require.EqualError(t, err, "issuance-hour, issuance-day: the 20 of a day are less than the 30 of an hour")
		}
	}
}

func TestFlagWinsOverEnvironmentOverFileOverDefault(t *testing.T) {
	t.Parallel()
	all := source{
		args: []string{"--lane-depth=4"},
		env:  []string{"FOXBRIDGE_LANE_DEPTH=3", "FOXBRIDGE_COMMAND_WAIT=3s"},
		file: "lane-depth: 2\ncommand-wait: 2s\nlog-level: warn\n",
	}
	c, err := load(t, all)
	require.NoError(t, err)
	require.Equal(t, 4, c.LaneDepth, "flag")
	require.Equal(t, 3*time.Second, c.CommandWait, "environment")
	require.Equal(t, "warn", c.LogLevel, "file")
	require.Equal(t, "127.0.0.1:8080", c.HTTP, "default")
}

func TestFlagSetToItsDefaultStillWins(t *testing.T) {
	t.Parallel()
	c, err := load(t, source{args: []string{"--lane-depth=16"}, env: []string{"FOXBRIDGE_LANE_DEPTH=3"}})
	require.NoError(t, err)
	require.Equal(t, 16, c.LaneDepth)
}

func TestFlagsOwnDefaultStandsBelowTheFile(t *testing.T) {
	t.Parallel()
	flags := pflag.NewFlagSet("demo", pflag.ContinueOnError)
	config.AddFlags(flags, "http", "mqtt")
	flags.Lookup("http").DefValue = "127.0.0.1:0"
	flags.Lookup("mqtt").DefValue = "127.0.0.1:0"
	path := write(t, "settings.yaml", "mqtt: 127.0.0.1:1\n")
	c, err := config.Load(flags, []string{"FOXBRIDGE_CONFIG=" + path})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:0", c.HTTP)
	require.Equal(t, "127.0.0.1:1", c.MQTT)
	require.Nil(t, flags.Lookup("operator"), "only the flags asked for are defined")
}

func TestContactsOfTheOperator(t *testing.T) {
	t.Parallel()
	for _, contact := range []string{"", "help@example.org", "https://example.org/help?from=foxbridge"} {
		c, err := load(t, source{args: []string{"--operator-contact=" + contact}})
		require.NoError(t, err)
		require.NoError(t, c.Validate())
		require.Equal(t, contact, c.OperatorContact)
	}
}

func TestSwitches(t *testing.T) {
	t.Parallel()
	c, err := load(t, source{args: []string{"--pprof", "--command-get=false"}})
	require.NoError(t, err)
	require.True(t, c.PProf)
	require.False(t, c.CommandGet)

	c, err = load(t, source{file: "pprof: true\ncommand-get: \"false\"\n"})
	require.NoError(t, err)
	require.True(t, c.PProf)
	require.False(t, c.CommandGet)
}

func TestRefusalsNameTheKeyAsItWasWritten(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		source
		want string
	}{
		"unknown key in the file":          {source{file: "lane-deph: 2"}, `unknown key "lane-deph" in `},
		"unknown nested key in the file":   {source{file: "http:\n  address: x"}, "http in "},
		"unknown dotted key in the file":   {source{file: "http.address: x"}, `unknown key "http.address" in `},
		"a file that names a file":         {source{file: "config: other.yaml"}, `unknown key "config" in `},
		"key without value in the file":    {source{file: "http:"}, "http in "},
		"empty map in the file":            {source{file: "http: {}"}, "http in "},
		"list in the file":                 {source{file: "lane-depth: [1]"}, "lane-depth in "},
		"key twice in the file":            {source{file: "pprof: true\npprof: false"}, "already defined"},
		"not a map":                        {source{file: "- a"}, "settings.yaml"},
		"not YAML":                         {source{file: "\t{"}, "settings.yaml"},
		"unknown variable":                 {source{env: []string{"FOXBRIDGE_LANE_DEPHT=2"}}, "FOXBRIDGE_LANE_DEPHT"},
		"variable in small letters":        {source{env: []string{"FOXBRIDGE_http=x"}}, "FOXBRIDGE_http"},
		"variable with a dash":             {source{env: []string{"FOXBRIDGE_DATA-DIR=x"}}, "FOXBRIDGE_DATA-DIR"},
		"file variable of what is public":  {source{env: []string{"FOXBRIDGE_HTTP_FILE=x"}}, "FOXBRIDGE_HTTP_FILE"},
		"flag without number":              {source{args: []string{"--lane-depth=many"}}, `--lane-depth: "many" is not a whole number`},
		"variable without number":          {source{env: []string{"FOXBRIDGE_LANE_DEPTH=many"}}, `FOXBRIDGE_LANE_DEPTH: "many" is not a whole number`},
		"file without number":              {source{file: "lane-depth: many"}, `lane-depth in `},
		"fraction":                         {source{file: "lane-depth: 1.5"}, "lane-depth in "},
		"switch":                           {source{args: []string{"--pprof=perhaps"}}, "--pprof"},
		"number without a unit":            {source{args: []string{"--command-wait=8"}}, "--command-wait"},
		"wait too short":                   {source{args: []string{"--command-wait=999ms"}}, "--command-wait: 999ms is not within 1s to 9s"},
		"wait too long":                    {source{args: []string{"--command-wait=9001ms"}}, "--command-wait"},
		"lane too shallow":                 {source{args: []string{"--lane-depth=0"}}, "--lane-depth"},
		"no series":                        {source{args: []string{"--issuance-series=0"}}, "--issuance-series: 0 is not within 1 to 10000"},
		"contact that is no address":       {source{args: []string{"--operator-contact=the operator"}}, "--operator-contact: \"the operator\" is neither an e-mail address nor an https URL"},
		"contact with a name":              {source{args: []string{"--operator-contact=Ann <ann@example.org>"}}, "--operator-contact"},
		"contact in the clear":             {source{args: []string{"--operator-contact=http://example.org/help"}}, "--operator-contact"},
		"short alert token":                {source{env: []string{"FOXBRIDGE_ALERT_TOKEN=fifteen-letters"}}, "FOXBRIDGE_ALERT_TOKEN: the value is not 16 to 200 letters"},
		"alert token with a space":         {source{env: []string{"FOXBRIDGE_ALERT_TOKEN=sixteen or more letters"}}, "FOXBRIDGE_ALERT_TOKEN: the value is not 16 to 200 letters"},
		"queue negative":                   {source{args: []string{"--password-queue=-1"}}, "--password-queue"},
		"word that is not one of the list": {source{args: []string{"--log-level=loud"}}, `--log-level: "loud" is not one of debug, info, warn, error`},
		"address without port":             {source{args: []string{"--http=localhost"}}, "--http"},
		"address with a bad port":          {source{args: []string{"--mqtt=localhost:65536"}}, "--mqtt"},
		"address with a named port":        {source{args: []string{"--operator=localhost:http"}}, "--operator"},
		"empty path":                       {source{args: []string{"--data-dir="}}, "--data-dir"},
		"bridge id of a bad form":          {source{args: []string{"--bridge-id=a/b"}}, "--bridge-id"},
		"database of another kind":         {source{args: []string{"--database-url=mysql://h/db"}}, "--database-url"},
		"public address in the clear":      {source{env: []string{"FOXBRIDGE_PUBLIC_URL=http://home.example.com"}}, "FOXBRIDGE_PUBLIC_URL: \"http://home.example.com\" is plain http"},
		"sqlite without a path":            {source{args: []string{"--database-url=sqlite:"}}, "--database-url"},
		"proxies that are no networks":     {source{args: []string{"--trusted-proxies=10.0.0.0/8,proxy"}}, "--trusted-proxies"},
		"postgres that is no URL":          {source{args: []string{"--database-url=postgres://u:p@w@h:x/db"}}, "--database-url: the value is neither"},
		"file that is not there":           {source{args: []string{"--config=/nowhere/x.yaml"}}, "/nowhere/x.yaml"},
		"seal key that is short":           {source{args: []string{"--seal-key=0123"}}, "--seal-key: the value is not 64 hex digits"},
		"seal key that is no hex":          {source{args: []string{"--seal-key=" + strings.Repeat("x", 64)}}, "--seal-key: the value is not 64 hex digits"},
		"secret file that is not there":    {source{args: []string{"--database-url-file=/nowhere/x"}}, "--database-url-file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.source)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// off is a word in a file, and not YAML's false.
func TestOffIsAWord(t *testing.T) {
	t.Parallel()
	c, err := load(t, source{file: "issuance-mode: off\nissuance-lever: off\n"})
	require.NoError(t, err)
	require.NoError(t, c.Validate())
	require.Equal(t, "off", c.IssuanceMode)
}

func TestClientsVariablesAreTolerated(t *testing.T) {
	t.Parallel()
	_, err := load(t, source{env: []string{
		"FOXBRIDGE_URL=http://x", "FOXBRIDGE_CLIENT_ID=a", "FOXBRIDGE_CLIENT_SECRET=b", "FOXBRIDGE_USERNAME=c",
		"FOXBRIDGE_PASSWORD=d", "FOXBRIDGE_SITE_ID=1", "FOXBRIDGE_MQTT_URL=tcp://x", "FOXBRIDGE_OPERATOR_URL=http://y",
		"FOXBRIDGE_COMMERCIAL_CLIENT_ID=a", "FOXBRIDGE_COMMERCIAL_CLIENT_SECRET=b",
		"FOXBRIDGE_COMMERCIAL_REDIRECT_URI=http://z", "FOXBRIDGE_DEMO_APP_URL=http://z",
		"HOME=/root", "FOXBRIDGE_LOG_LEVEL=", "FOXBRIDGE",
	}})
	require.NoError(t, err)
}

// Passwords and tokens travel in the clear on no network.
func TestPublicURL(t *testing.T) {
	t.Parallel()
	for address, right := range map[string]bool{
		"https://home.example.com":      true,
		"https://home.example.com:8443": true,
		"https://[2001:db8::1]":         true,
		"http://127.0.0.1:8080":         true,
		"http://127.9.9.9":              true,
		"http://[::1]:8080":             true,
		"http://localhost:8080":         true,

		"http://home.example.com":       false,
		"http://192.168.1.2:8080":       false,
		"http://localhost.example.com":  false,
		"http://127.0.0.1.example.com":  false,
		"https://home.example.com/":     false,
		"https://home.example.com/fox":  false,
		"https://home.example.com?a=b":  false,
		"https://home.example.com#a":    false,
		"https://u:p@home.example.com":  false,
		"https://Home.example.com":      false,
		"HTTPS://home.example.com":      false,
		"https://home.example.com:":     false,
		"https://home.example.com:port": false,
		"https://:8443":                 false,
		"https://":                      false,
		"home.example.com":              false,
		"//home.example.com":            false,
		"ftp://home.example.com":        false,
		"https:home.example.com":        false,
	} {
		_, err := load(t, source{args: []string{"--public-url", address}})
		if right {
			require.NoError(t, err, address)
		} else {
			require.ErrorContains(t, err, "--public-url: ", address)
		}
	}
}

func TestIssuerIsThePublicURLOrTheAddressTaken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		public, taken, issuer string
		exposed               bool
	}{
		"given":             {"https://home.example.com", "0.0.0.0:8080", "https://home.example.com", false},
		"loopback":          {"", "127.0.0.1:8080", "http://127.0.0.1:8080", false},
		"loopback, IPv6":    {"", "[::1]:8080", "http://[::1]:8080", false},
		"all interfaces":    {"", "[::]:8080", "http://localhost:8080", true},
		"all IPv4":          {"", "0.0.0.0:8080", "http://localhost:8080", true},
		"another interface": {"", "192.168.1.2:8080", "http://192.168.1.2:8080", true},
	} {
		taken := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tc.taken))
		c := config.Config{PublicURL: tc.public}
		require.Equal(t, tc.issuer, c.Issuer(taken), name)
		require.Equal(t, tc.exposed, c.Exposed(taken), name)
	}
}

func TestSecretFromFile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"without newline":     {"postgres://u:p@h/d", "postgres://u:p@h/d"},
		"one newline is cut":  {"postgres://u:p@h/d\n", "postgres://u:p@h/d"},
		"so is that of DOS":   {"postgres://u:p@h/d\r\n", "postgres://u:p@h/d"},
		"a second one stays":  {"postgres://u:p@h/d\n\n", "postgres://u:p@h/d\n"},
		"space belongs to it": {"postgres://u:p@h/d ", "postgres://u:p@h/d "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "dsn", tc.text)
			for _, s := range []source{
				{args: []string{"--database-url-file", path}},
				{env: []string{"FOXBRIDGE_DATABASE_URL_FILE=" + path}},
				{file: "database-url-file: " + path},
			} {
				c, err := load(t, s)
				require.NoError(t, err)
				require.Equal(t, tc.want, c.DatabaseURL)
			}
		})
	}
}

func TestSecretGivenBothWaysIsRefused(t *testing.T) {
	t.Parallel()
	path := write(t, "dsn", "postgres://u:p@h/d")
	_, err := load(t, source{
		args: []string{"--database-url=postgres://u:hidden@h/d"},
		env:  []string{"FOXBRIDGE_DATABASE_URL_FILE=" + path},
	})
	require.EqualError(t, err, "--database-url and FOXBRIDGE_DATABASE_URL_FILE are both given")
}

func TestBadSecretIsNotRepeated(t *testing.T) {
	t.Parallel()
	_, err := load(t, source{env: []string{"FOXBRIDGE_DATABASE_URL=mysql://u:hidden@h/d"}})
	require.ErrorContains(t, err, "FOXBRIDGE_DATABASE_URL")
	require.NotContains(t, err.Error(), "hidden")
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]config.Database{
		"":                      {SQLite: "d/foxbridge.db"},
		"sqlite:other/fox.db":   {SQLite: "other/fox.db"},
		"postgres://u:p@h/fox":  {Postgres: "postgres://u:p@h/fox"},
		"postgresql://h/fox?a=": {Postgres: "postgresql://h/fox?a="},
	} {
		got, err := config.Config{DataDir: "d", DatabaseURL: dsn}.Database()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// The flags are the reference: each says its meaning, its default and its variable.
func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(flags)
	help := flags.FlagUsages()
	names := make(map[string]bool)
	for _, k := range config.Keys() {
		require.False(t, names[k.Name], "key %s stands twice", k.Name)
		names[k.Name] = true
		require.NotEmpty(t, k.Doc, k.Name)
		require.Contains(t, help, "--"+k.Name)
		require.Contains(t, help, k.Doc)
		require.Contains(t, help, "(environment "+k.Env+")")
		if k.Default != "" {
			require.Regexp(t, `\(default "?`+regexp.QuoteMeta(k.Default)+`"?\)`, help)
		}
		require.Contains(t, []string{"string", "bool", "int", "duration"}, k.Type(), k.Name)
	}
}

var update = flag.Bool("update", false, "write docs/configuration.md anew")

func TestReferenceIsFresh(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "..", "docs", "configuration.md")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(config.Reference()), 0o644))
	}
	stands, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(config.Reference(), string(stands)), "run make docs")
}

// What loads is valid; nothing makes Load panic.
func FuzzLoad(f *testing.F) {
	f.Add("")
	f.Add("http: 127.0.0.1:0\ncommand-wait: 3s\nlane-depth: 4\npprof: true\n")
	f.Add("http: {a: [1, 2]}\n")
	f.Add("lane-depth: 99999999999999999999\n")
	f.Add("a: &a [*a]\n")
	f.Add("database-url: sqlite:x\n1: 2\n? [a]\n: b\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "-file") {
			return // would read a file of the machine's
		}
		c, err := load(t, source{file: text})
		if err != nil {
			return
		}
		require.NoError(t, c.Validate())
	})
}
