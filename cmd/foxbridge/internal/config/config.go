// Package config holds the settings of a bridge: what each of them means, and how
// they are read from flags, FOXBRIDGE_* variables and a YAML file.
package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Config is everything that can be set about a bridge. Its tags are the reference
// manual, from which --help and docs/configuration.md are made:
//
//	key      name of the flag and in the file; the variable is FOXBRIDGE_ and the
//	         name in capitals with underscores
//	default  value if nothing is given
//	doc      meaning, in plain text
//	min, max bounds, both inclusive
//	oneof    the allowed words
//	format   a form that the value must have; see checkFormat
//	secret   "true" if the value must not be shown; it can then be given as the name
//	         of a file as well, under the key with -file behind it
type Config struct {
	HTTP      string `key:"http" default:"127.0.0.1:8080" format:"address" doc:"Address of the public HTTP API, as host:port. An empty host means all interfaces, port 0 lets the system choose; the address taken is logged."`
	PublicURL string `key:"public-url" format:"public-url" doc:"Address under which people and applications reach the public listener, such as https://home.example.com, without a path. Applications know the authorization server by it, so it stays as it is. Plain http is for this machine's own loopback; with https cookies are Secure and browsers are told to come by https alone. Empty means http:// and the address that was taken."`
	MQTT      string `key:"mqtt" default:"127.0.0.1:1883" format:"address" doc:"Address at which HomeControl units connect by MQTT over TCP, as host:port."`
	Operator  string `key:"operator" default:"127.0.0.1:9464" format:"address" doc:"Address of the operator's listener, as host:port: /metrics, /healthz, /readyz and, if switched on, pprof. But for /alerts, which is there with an alert-token alone, it asks for no credentials, so keep it off public networks."`

	DataDir     string `key:"data-dir" default:"./data" format:"path" doc:"Directory of the SQLite database and of seal.key; it is created with mode 0700. With PostgreSQL and seal-key it is not used."`
	DatabaseURL string `key:"database-url" format:"dsn" secret:"true" doc:"Where the record is kept. Empty means foxbridge.db in the data directory; sqlite:PATH is another SQLite file; postgres://USER:PASSWORD@HOST/NAME is PostgreSQL. A SQLite database is migrated at start, a PostgreSQL database by the command migrate."`
	SealKey     string `key:"seal-key" format:"seal-key" secret:"true" doc:"Key that encrypts what must be read back, such as the secrets of authenticator apps: 64 hex digits, the same for all bridges of a database. Empty means that one is drawn once and kept as seal.key in the data directory. Without it authenticator apps have to be set up anew, so keep a copy of it, apart from those of the database."`

	BridgeID    string        `key:"bridge-id" default:"bridge" format:"bridge-id" doc:"Name of this process in the topics at which units answer: 1 to 32 of a-z, 0-9 and -. Processes that share a broker need different names."`
	CommandWait time.Duration `key:"command-wait" default:"8s" min:"1s" max:"9s" doc:"How long an HTTP request waits for the unit's own acknowledgement before it is answered 504. Widespread clients give up after 10s."`
	CommandGet  bool          `key:"command-get" default:"true" doc:"Whether commands are accepted by GET as well as by POST, as several existing clients send them. A GET needs the token in the request like any other."`
	LaneDepth   int           `key:"lane-depth" default:"16" min:"1" max:"1000" doc:"How many commands to one device may be under way or waiting before the next is answered 429."`

	LimitAPI             int  `key:"limit-api" default:"1200" min:"0" max:"1000000" doc:"How many requests a minute one application may send for one person before the next is answered 429; as many may come at once, and what was spent comes back evenly. Requests that set the alarm are counted apart, so that the others never keep anybody out of it. The pages of a person who is signed in count as one more application. 0 means no limit, here and below."`
	LimitCommands        int  `key:"limit-commands" default:"120" min:"0" max:"1000000" doc:"How many commands a minute one application may give for one person, the alarm's not counted. A repeat that joins an earlier command costs nothing."`
	LimitAlarm           int  `key:"limit-alarm" default:"30" min:"0" max:"1000000" doc:"The same for arming and disarming alone, so that a spent budget never locks a person out of the alarm."`
	LimitTokenPersonal   int  `key:"limit-token-personal" default:"1200" min:"0" max:"1000000" doc:"How many requests a minute one personal application may send with its own credentials: for tokens, their introspection and revocation. Only a client that has authenticated is counted."`
	LimitTokenCommercial int  `key:"limit-token-commercial" default:"12000" min:"0" max:"1000000" doc:"The same for one commercial application, which may have 100,000 users whose tokens are renewed each hour. Of one that has no secret, each address is counted by itself."`
	LimitAddress         int  `key:"limit-address" default:"600" min:"0" max:"1000000" doc:"How many requests a minute may come from one address, of IPv6 from one /64, for which nobody has authenticated: pages without a sign-in, and requests whose credentials are wrong. Whoever does authenticate is not kept out by others at the same address. See trusted-proxies."`
	LimitsShared         bool `key:"limits-shared" default:"false" doc:"Where the limits are counted: false means in this process, true means in the PostgreSQL database, for bridges that share one. When that gives no answer in time, requests are permitted."`

	ScenarioTolerance time.Duration `key:"scenario-tolerance" default:"2m" min:"1s" max:"1h" doc:"How late a scenario may run by itself: after a restart, or when its home was away. One that would be later is recorded as missed in the home's history, and not caught up."`

	MeasurementInterval time.Duration `key:"measurement-interval" default:"1m" min:"1s" max:"1h" doc:"Of what a sensor measures, one value is kept for each interval, the last."`
	MeasurementRaw      time.Duration `key:"measurement-raw" default:"336h" min:"24h" max:"87600h" doc:"How long each of those values is kept. After that the mean of its hour stands for it (of a light level the last)."`
	MeasurementKeep     time.Duration `key:"measurement-keep" default:"8760h" min:"24h" max:"87600h" doc:"How long measurements are kept at all."`
	HistoryKeep         time.Duration `key:"history-keep" default:"8760h" min:"24h" max:"87600h" doc:"How long the history of a home is kept."`

	PasswordWorkers int `key:"password-workers" default:"0" min:"0" max:"256" doc:"How many passwords are hashed at the same time; each takes 19 MiB and one processor. 0 means half the processors, and at least one."`
	PasswordQueue   int `key:"password-queue" default:"64" min:"1" max:"10000" doc:"How many sign-ins may wait for a password worker before the next is answered 503."`

	IssuanceMode   string `key:"issuance-mode" default:"enforce" oneof:"enforce shadow off" doc:"What is done about wasteful access tokens: one is wasteful if the same application and person held another one with more than five minutes left when it was issued. enforce switches a personal application off when it asks for more of them than it is allowed; shadow counts and records what enforce would have done; off does not count."`
	IssuanceLever  string `key:"issuance-lever" default:"off" oneof:"off drain" doc:"How an application is switched off. Either way it gets no new tokens; with off its live ones are refused at once, with drain its access tokens work until they expire."`
	IssuanceHour   int    `key:"issuance-hour" default:"20" min:"0" max:"1000000" doc:"How many wasteful access tokens a personal application is issued in a rolling hour; it is switched off when it asks for another one. 0 means no limit. foxbridge app limits gives one application its own."`
	IssuanceDay    int    `key:"issuance-day" default:"100" min:"0" max:"1000000" doc:"The same for a rolling day."`
	IssuanceSeries int    `key:"issuance-series" default:"200" min:"1" max:"10000" doc:"How many applications, the busiest ones, have series of their own in the metrics of issued tokens; the rest are summed as client_id other."`
	AlertToken     string `key:"alert-token" default:"" format:"bearer" secret:"true" doc:"What Alertmanager's webhook has to show as its bearer token at /alerts on the operator's listener, where an alert switches an application off or on: 16 to 200 letters, digits and -._~+/. Empty means that there is no such path."`

	OperatorContact string `key:"operator-contact" default:"" format:"contact" doc:"Where the owners of applications reach the operator when it is the operator who decides whether an application that is switched off comes back: an e-mail address, or the https URL of a page. The application's page, the mails and the refusals name it. Empty means that they name none."`

	SMTPURL       string `key:"smtp-url" secret:"true" doc:"Mail server by which owners are told when their applications waste tokens: smtps://USER:PASSWORD@HOST:465, or smtp://USER:PASSWORD@HOST:587 with STARTTLS, without which nothing is sent; this machine's own server, such as smtp://127.0.0.1:25, is spoken to in the clear. Empty means that no mail is sent."`
	MailFrom      string `key:"mail-from" default:"" doc:"Sender of these mails, such as Foxbridge <cloud@example.org>. Required with smtp-url."`
	WebhookURL    string `key:"webhook-url" secret:"true" doc:"Address to which the operator is told of every verdict on an application, by a signed POST as the Standard Webhooks specification has it: https, or http on this machine. It may hold a token, so it is not shown. Empty means that nothing is posted."`
	WebhookSecret string `key:"webhook-secret" secret:"true" doc:"Secret by which the webhook is signed: whsec_ and at least 24 bytes in base64. Required with webhook-url."`

	HTTPConnections int    `key:"http-connections" default:"10000" min:"1" max:"1000000" doc:"How many connections the public HTTP listener holds at the same time; more wait in the system's queue."`
	SignUp          bool   `key:"sign-up" default:"false" doc:"Whether people can make themselves an account on the page /signup. Nobody checks whether an e-mail address is theirs, and the page tells which ones have an account. Without it there is no such page, and accounts are made by the command user add."`
	Registrations   int    `key:"registrations" default:"20" min:"0" max:"1000000" doc:"How many applications, personal and commercial ones together, one person may register within 24 hours, on the pages and by command; those count that were deleted since. 0 means no limit."`
	TrustedProxies  string `key:"trusted-proxies" default:"" format:"networks" doc:"Networks of reverse proxies whose X-Forwarded-For is believed, as addresses or CIDR with commas between. Failed sign-ins, and requests of limit-address, are counted by a client's address: behind a proxy that is not named here, everybody has the same."`

	MQTTConnections int `key:"mqtt-connections" default:"10000" min:"1" max:"1000000" doc:"How many MQTT connections of units are held at the same time; more are refused."`

	LogFormat       string        `key:"log-format" default:"text" oneof:"text json" doc:"Form of the log on standard error."`
	LogLevel        string        `key:"log-level" default:"info" oneof:"debug info warn error" doc:"The least severity that is logged."`
	PProf           bool          `key:"pprof" default:"false" doc:"Whether the operator's listener serves Go's profiles below /debug/pprof/."`
	ShutdownTimeout time.Duration `key:"shutdown-timeout" default:"20s" min:"1s" max:"10m" doc:"How long a stop waits for the work that was accepted before it is cut off."`
}

// Key is one setting, as its field of Config describes it.
type Key struct {
	Name    string // such as "command-wait"
	Env     string // such as "FOXBRIDGE_COMMAND_WAIT"
	Default string // as text; empty if there is none
	Doc     string // its meaning, one paragraph of plain text
	Allowed string // bounds or words, such as "1s to 9s"; empty if the Doc says it all
	Secret  bool   // never shown; may be given as NAME-file too

	field reflect.StructField
}

// Keys lists all settings in the order of Config's fields.
func Keys() []Key {
	var keys []Key
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		keys = append(keys, Key{
			Name:    f.Tag.Get("key"),
			Env:     envName(f.Tag.Get("key")),
			Default: f.Tag.Get("default"),
			Doc:     f.Tag.Get("doc"),
			Allowed: allowed(f.Tag),
			Secret:  f.Tag.Get("secret") == "true",
			field:   f,
		})
	}
	return keys
}

// Type is how a value is written: string, bool, int or duration.
func (k Key) Type() string { return strings.ToLower(k.field.Type.Name()) }

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

func allowed(tag reflect.StructTag) string {
	if words := tag.Get("oneof"); words != "" {
		return strings.ReplaceAll(words, " ", ", ")
	}
	if low, high := tag.Get("min"), tag.Get("max"); low != "" {
		return low + " to " + high
	}
	return ""
}

func envKey(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "_", "-"))
}

// Validate checks every setting by the rules of its tags. The error names the key
// and, unless it is a secret, the value.
func (c Config) Validate() error {
	for _, k := range Keys() {
		if err := k.check(reflect.ValueOf(c).FieldByIndex(k.field.Index)); err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
	}
	return errors.Join(c.checkShared(), c.CheckIssuance())
}

// CheckIssuance refuses limits of an hour and a day that contradict each other.
func (c Config) CheckIssuance() error {
	if c.IssuanceDay != 0 && c.IssuanceDay < c.IssuanceHour {
		return fmt.Errorf("issuance-hour, issuance-day: the %d of a day are less than the %d of an hour", c.IssuanceDay, c.IssuanceHour)
	}
	return nil
}

func (c Config) checkShared() error {
	which, err := c.Database()
	if err == nil && c.LimitsShared && which.Postgres == "" {
		return errors.New("limits-shared: limits can be shared through PostgreSQL only, and database-url names none")
	}
	return err
}

// parse reads the text of a setting into v, a field of Config. Its errors, as those
// of check, fit behind the key's name.
func (k Key) parse(text string, v reflect.Value) error {
	switch v.Interface().(type) {
	case string:
		v.SetString(text)
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(int64(n))
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 8s or 1m30s", text)
		}
		v.SetInt(int64(d))
	default:
		return fmt.Errorf("has the unknown type %s", v.Type())
	}
	return nil
}

func (k Key) check(v reflect.Value) error {
	tag := k.field.Tag
	if v.CanInt() && tag.Get("min") != "" {
		low, high := reflect.New(v.Type()).Elem(), reflect.New(v.Type()).Elem()
		if err := k.parse(tag.Get("min"), low); err != nil {
			return err
		}
		if err := k.parse(tag.Get("max"), high); err != nil {
			return err
		}
		if v.Int() < low.Int() || v.Int() > high.Int() {
			return fmt.Errorf("%v is not within %s", v.Interface(), k.Allowed)
		}
	}
	if words := tag.Get("oneof"); words != "" && !slices.Contains(strings.Fields(words), v.String()) {
		return fmt.Errorf("%q is not one of %s", v.String(), k.Allowed)
	}
	return checkFormat(tag.Get("format"), v)
}

// checkFormat checks the forms that a format tag can name.
func checkFormat(format string, v reflect.Value) error {
	switch format {
	case "address":
		_, port, err := net.SplitHostPort(v.String())
		if err != nil {
			return fmt.Errorf("%q is not host:port", v.String())
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("%q has no port number from 0 to 65535", v.String())
		}
	case "path":
		if !isPath(v.String()) {
			return fmt.Errorf("%q is not a path", v.String())
		}
	case "bridge-id":
		if !regexp.MustCompile(`^[a-z0-9-]{1,32}$`).MatchString(v.String()) {
			return fmt.Errorf("%q is not 1 to 32 of a-z, 0-9 and -", v.String())
		}
	case "bearer":
		if s := v.String(); s != "" && !regexp.MustCompile(`^[A-Za-z0-9._~+/-]{16,200}=*$`).MatchString(s) {
			return errors.New("the value is not 16 to 200 letters, digits and -._~+/")
		}
	case "contact":
		return checkContact(v.String())
	case "public-url":
		return checkPublicURL(v.String())
	case "seal-key":
		if _, err := (Config{SealKey: v.String()}).SealKeyBytes(); err != nil {
			return err
		}
	case "networks":
		if _, err := parseNetworks(v.String()); err != nil {
			return err
		}
	case "dsn":
		if _, err := (Config{DataDir: ".", DatabaseURL: v.String()}).Database(); err != nil {
			return err
		}
	}
	return nil
}

// checkPublicURL takes the origin of a site: https, or plain http on loopback. Empty is
// none.
func checkPublicURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || s != strings.ToLower(u.Scheme+"://"+u.Host):
		return fmt.Errorf("%q is not an address such as https://home.example.com, in small letters and without a path or a slash at its end", s)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%q is plain http, which is for loopback alone: passwords and tokens would travel in the clear", s)
	default:
		return fmt.Errorf("%q is neither https nor http", s)
	}
}

// checkContact takes an e-mail address or an https URL that can stand in an
// error_description of RFC 6749. Empty is none.
func checkContact(s string) error {
	if s == "" {
		return nil
	}
	plain := len(s) <= 200 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"\<>`, r) })
	address, err := mail.ParseAddress(s)
	isMail := err == nil && address.Address == s
	u, err := url.Parse(s)
	isPage := err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil
	if !plain || !isMail && !isPage {
		return fmt.Errorf("%q is neither an e-mail address nor an https URL, of at most 200 ASCII characters", s)
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Issuer is the address of the public listener, which has taken this address: the
// PublicURL, or else plain http. A listener on all interfaces is reached by loopback.
func (c Config) Issuer(taken net.Addr) string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	at, err := netip.ParseAddrPort(taken.String())
	if err == nil && at.Addr().IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d", at.Port())
	}
	return "http://" + taken.String()
}

// Exposed reports whether people who are not on this machine reach the listener that
// has taken this address by plain http.
func (c Config) Exposed(taken net.Addr) bool {
	at, err := netip.ParseAddrPort(taken.String())
	return c.PublicURL == "" && err == nil && !at.Addr().IsLoopback()
}

// Proxies gives TrustedProxies as networks.
func (c Config) Proxies() []netip.Prefix {
	networks, _ := parseNetworks(c.TrustedProxies) // Validate has seen it
	return networks
}

func parseNetworks(list string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if address, err := netip.ParseAddr(text); err == nil {
			networks = append(networks, netip.PrefixFrom(address, address.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, errors.New("the value is no list of addresses and networks such as 127.0.0.1, 10.0.0.0/8")
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// sealKeySize is the length of SealKey in bytes.
const sealKeySize = 32

// SealKeyBytes reads SealKey; nil if it is empty. The error does not repeat it.
func (c Config) SealKeyBytes() ([]byte, error) {
	if c.SealKey == "" {
		return nil, nil
	}
	key, err := hex.DecodeString(c.SealKey)
	if err != nil || len(key) != sealKeySize {
		return nil, errors.New("the value is not 64 hex digits")
	}
	return key, nil
}

func isPath(s string) bool { return s != "" && !strings.ContainsRune(s, 0) }

// Database is the store that a Config chooses: exactly one of its fields is set.
type Database struct {
	SQLite   string // path of the file
	Postgres string // connection string; holds a password
}

// Database reads DatabaseURL. The error does not repeat it.
func (c Config) Database() (Database, error) {
	if c.DatabaseURL == "" {
		return Database{SQLite: filepath.Join(c.DataDir, "foxbridge.db")}, nil
	}
	scheme, rest, _ := strings.Cut(c.DatabaseURL, ":")
	switch scheme {
	case "postgres", "postgresql":
		// What pgx says of a URL that it cannot read may repeat its password.
		if _, err := pgxpool.ParseConfig(c.DatabaseURL); err == nil && strings.HasPrefix(rest, "//") {
			return Database{Postgres: c.DatabaseURL}, nil
		}
	case "sqlite":
		if isPath(rest) {
			return Database{SQLite: rest}, nil
		}
	}
	return Database{}, errors.New("the value is neither sqlite:PATH nor a postgres:// URL")
}
