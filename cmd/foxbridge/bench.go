package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/bench"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	unitlib "github.com/foxbridge/foxbridge/mqtt/unit"
)

// Bounds of a measurement.
const (
	maxBenchCallers = 256
	maxBenchRounds  = 1000
	maxBenchTime    = 10 * time.Minute // of all turns of one kind of work: each time that it took is kept
	benchLarge      = 500              // devices of the home whose list is read
	benchHomes      = 4                // for each caller: a unit may say 100 things a second, and a command makes it say two
)

func benchCommand(p process) *cobra.Command {
	var out printer
	o := bench.Options{Callers: 32, Rounds: 10, Round: 250 * time.Millisecond}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure a bridge on this machine beside the least code that does the same",
		Long: `Measure what a bridge does in a second, on this machine, beside the least code that does the same:
a floor. Both are asked over HTTP by as many callers, in turns, in one run. The times of a machine
that does other things too prove nothing; the ratio of the two does. The bridge is this program's
own, with a simulated home, on a SQLite file in a temporary directory or on an empty PostgreSQL
database, in which what was measured stays. There are no limits of requests; the issuance policy
counts but switches nothing off.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.SortFlags = false
	f.IntVar(&o.Callers, "callers", o.Callers, fmt.Sprintf("How many ask at the same time, 1 to %d.", maxBenchCallers))
	f.IntVar(&o.Rounds, "rounds", o.Rounds, fmt.Sprintf("How many turns each has, 1 to %d.", maxBenchRounds))
	f.DurationVar(&o.Round, "round", o.Round, fmt.Sprintf("How long a turn is, from 1ms; all of them %s at the most.", maxBenchTime))
	config.AddFlags(f, "database-url")
	f.Lookup("database-url").Usage = "An empty PostgreSQL database, as postgres://USER:PASSWORD@HOST/NAME, instead of the SQLite file."
	out.flag(f)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkBench(o); err != nil {
			return err
		}
		cfg, err := config.Load(c.Flags(), nil)
		if err != nil {
			return err
		}
		return action(func(c *cobra.Command, _ []string) error {
			results, err := runBench(c.Context(), p, cfg, o)
			if err != nil {
				return err
			}
			return printBench(&out, p.stdout, results)
		})(c, args)
	}
	return c
}

func checkBench(o bench.Options) error {
	switch {
	case o.Callers < 1 || o.Callers > maxBenchCallers:
		return fmt.Errorf("--callers %d is not within 1 to %d", o.Callers, maxBenchCallers)
	case o.Rounds < 1 || o.Rounds > maxBenchRounds:
		return fmt.Errorf("--rounds %d is not within 1 to %d", o.Rounds, maxBenchRounds)
	case o.Round < time.Millisecond || o.Round > maxBenchTime/time.Duration(o.Rounds):
		return fmt.Errorf("--round %s is not within 1ms to %s, with %d rounds", o.Round, maxBenchTime/time.Duration(o.Rounds), o.Rounds)
	}
	return nil
}

func printBench(out *printer, w io.Writer, results []bench.Result) error {
	if out.asJSON {
		return writeJSON(w, results)
	}
	fmt.Fprintln(w, "| work | a second | median | 99 of 100 | floor | a second | ratio | half of the turns |\n|---|---|---|---|---|---|---|---|")
	for _, r := range results {
		if _, err := fmt.Fprintf(w, "| %s | %.0f | %s | %s | %s | %.0f | %.2f | %.2f to %.2f |\n", r.Name, r.Rate,
			r.Median.Round(10*time.Microsecond), r.Slow.Round(10*time.Microsecond), r.Least, r.FloorRate, r.Ratio.Median, r.Ratio.Low, r.Ratio.High); err != nil {
			return err
		}
	}
	return nil
}

// runBench sets the stage, measures and cleans up.
func runBench(ctx context.Context, p process, cfg config.Config, o bench.Options) (results []bench.Result, err error) {
	dir, err := os.MkdirTemp("", "foxbridge-bench-")
	if err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	which, err := prepareBench(ctx, &cfg, dir)
	if err != nil {
		return nil, err
	}
	bridge, err := startBridge(ctx, p, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bridge.Stop(context.WithoutCancel(ctx))) }()
	floors, err := bench.StartFloors(ctx, dir, which.Postgres)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, floors.Stop(context.WithoutCancel(ctx))) }()

	s := newBenchStage(bridge, floors, o.Callers)
	defer s.http.CloseIdleConnections()
	defer func() { err = errors.Join(err, s.stopHomes(ctx)) }()
	if err := s.furnish(ctx, p, cfg); err != nil {
		return nil, err
	}
	pairs, err := s.pairs(ctx)
	if err != nil {
		return nil, err
	}
	for _, pair := range pairs {
		result, err := bench.Run(ctx, pair, o)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// prepareBench makes cfg that of a bridge which is measured. A PostgreSQL database is
// migrated, and refused if somebody has an account in it.
func prepareBench(ctx context.Context, cfg *config.Config, dir string) (config.Database, error) {
	cfg.DataDir = dir
	cfg.HTTP, cfg.MQTT, cfg.Operator = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.LogLevel = "warn"
	cfg.LimitAPI, cfg.LimitCommands, cfg.LimitAlarm, cfg.LimitTokenPersonal, cfg.LimitAddress = 0, 0, 0, 0, 0
	cfg.IssuanceHour, cfg.IssuanceDay = 0, 0
	cfg.PasswordQueue = maxBenchCallers
	which, err := cfg.Database()
	if err != nil || which.Postgres == "" {
		return which, err
	}
	if _, err := app.Migrate(ctx, *cfg); err != nil {
		return which, err
	}
	r, err := app.OpenRecord(ctx, *cfg, true)
	if err != nil {
		return which, err
	}
	users, err := r.OAuth.Users(ctx, 0, 1)
	if err == nil && len(users) > 0 {
		err = errors.New("somebody has an account in this database: measure on one that is empty")
	}
	return which, errors.Join(err, r.Close())
}

// benchStage is a bridge with homes, and scripts that use them.
type benchStage struct {
	bridge  *app.App
	floors  *bench.Floors
	http    *http.Client
	scripts []benchScript // one for each caller
	token   string        // of the homes' owner
	homes   []benchHome
	next    []int // the home that a caller commands next
	large   int64 // the site with many devices
}

// benchHome is a site with a simulated home in which there is one socket.
type benchHome struct {
	site, socket int64
	home         *unitlib.Home
}

// benchScript is a personal application with the token that it will renew next.
type benchScript struct{ clientID, secret, refresh string }

func newBenchStage(bridge *app.App, floors *bench.Floors, callers int) *benchStage {
	transport := &http.Transport{MaxIdleConnsPerHost: callers, DisableCompression: true}
	return &benchStage{
		bridge: bridge, floors: floors, http: &http.Client{Transport: transport, Timeout: 30 * time.Second},
		scripts: make([]benchScript, callers), next: make([]int, callers),
	}
}

// furnish registers people with their scripts, a home with many devices, and homes
// whose units are simulated, and gets the first tokens.
func (s *benchStage) furnish(ctx context.Context, p process, cfg config.Config) error {
	owner, err := s.addScripts(ctx)
	if err != nil {
		return err
	}
	large, _, err := s.addHome(ctx, owner, benchLarge)
	if err != nil {
		return err
	}
	s.large = large.ID
	log := app.NewLogger(p.stderr, cfg.LogFormat, cfg.LogLevel)
	for range benchHomes * len(s.scripts) {
		site, unit, err := s.addHome(ctx, owner, 1)
		if err != nil {
			return err
		}
		home, err := newHome(unit, "tcp://"+s.bridge.MQTTAddr().String(), unitlib.HomeOptions{}, log)
		if err != nil {
			return err
		}
		if err := home.Start(ctx); err != nil {
			return err
		}
		s.homes = append(s.homes, benchHome{site.ID, unit.Devices[0].DeviceID, home})
	}
	for _, h := range s.homes {
		if err := awaitHome(ctx, s.bridge.Record(), devices.Caller{UserID: owner, Unscoped: true}, h.site); err != nil {
			return err
		}
	}
	return nil
}

// addHome registers a home with a unit that has so many sockets.
func (s *benchStage) addHome(ctx context.Context, owner int64, sockets int) (devices.Site, newUnit, error) {
	record := s.bridge.Record().Devices
	site, err := record.AddSite(ctx, owner, "Home", "Europe/Paris")
	if err != nil {
		return devices.Site{}, newUnit{}, err
	}
	wanted := make([]devices.NewDevice, sockets)
	for i := range wanted {
		wanted[i] = devices.NewDevice{Kind: devices.Socket, Label: fmt.Sprint("Socket ", i+1)}
	}
	unit, password, list, err := record.AddUnit(ctx, site.ID, wanted)
	if err != nil {
		return devices.Site{}, newUnit{}, err
	}
	return site, newUnitOf(unit, password, list), nil
}

func (s *benchStage) stopHomes(ctx context.Context) error {
	var err error
	for _, h := range s.homes {
		err = errors.Join(err, stopHome(ctx, h.home))
	}
	return err
}

// benchScriptsEach is how many scripts a person has; more than ten are not allowed.
const benchScriptsEach = 8

// addScripts makes the scripts and the people they belong to, and gives the first person.
func (s *benchStage) addScripts(ctx context.Context) (first int64, err error) {
	record := s.bridge.Record().OAuth
	var email, password string
	for i := range s.scripts {
		if i%benchScriptsEach == 0 {
			email, password = fmt.Sprintf("bench%d@example.com", i), rand.Text()
			person, err := record.AddUser(ctx, email, "Bench", password)
			if err != nil {
				return 0, err
			}
			if first == 0 {
				first = person.ID
			}
		}
		client, secret, err := record.AddClient(ctx, email, fmt.Sprint("Script ", i+1))
		if err != nil {
			return 0, err
		}
		s.scripts[i] = benchScript{clientID: client.ID, secret: secret}
		access, err := s.tokens(ctx, i, url.Values{"grant_type": {"password"}, "username": {email}, "password": {password}})
		if err != nil {
			return 0, fmt.Errorf("get a first token: %w", err)
		}
		if i == 0 {
			s.token = access
		}
	}
	return first, nil
}

// pairs are what is measured.
func (s *benchStage) pairs(ctx context.Context) ([]bench.Pair, error) {
	alarm, err := s.reading(ctx, "the alarm is read", fmt.Sprintf("/v2/site/%d/security", s.homes[0].site))
	if err != nil {
		return nil, err
	}
	list, err := s.reading(ctx, fmt.Sprintf("%d devices are listed", benchLarge), fmt.Sprintf("/v2/site/%d/device/socket/items", s.large))
	if err != nil {
		return nil, err
	}
	return []bench.Pair{
		alarm, list,
		{
			Name: "a token is renewed", Least: "one row is made durable",
			Work: func(ctx context.Context, caller int) error {
				_, err := s.tokens(ctx, caller, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.scripts[caller].refresh}})
				return err
			},
			Floor: func(ctx context.Context, _ int) error {
				_, err := s.do(ctx, http.MethodPost, s.floors.URL+bench.PathRow, "", nil)
				return err
			},
		},
		{
			Name: "a socket is switched", Least: "a message by MQTT and its answer",
			Work: func(ctx context.Context, caller int) error {
				h := s.homes[caller*benchHomes+s.next[caller]]
				s.next[caller] = (s.next[caller] + 1) % benchHomes
				_, err := s.do(ctx, http.MethodPost, fmt.Sprintf("%s/v2/site/%d/device/%d/socket/on", s.bridge.URL(), h.site, h.socket), s.token, nil)
				return err
			},
			Floor: func(ctx context.Context, _ int) error {
				_, err := s.do(ctx, http.MethodPost, s.floors.URL+bench.PathExchange+"/on", "", nil)
				return err
			},
		},
	}, nil
}

// reading is a GET, and a handler that writes the same bytes.
func (s *benchStage) reading(ctx context.Context, name, path string) (bench.Pair, error) {
	work := func(ctx context.Context, _ int) error {
		_, err := s.do(ctx, http.MethodGet, s.bridge.URL()+path, s.token, nil)
		return err
	}
	same, err := s.do(ctx, http.MethodGet, s.bridge.URL()+path, s.token, nil)
	if err != nil {
		return bench.Pair{}, err
	}
	return bench.Pair{Name: name, Least: fmt.Sprintf("the same %d bytes are written", len(same)), Work: work, Floor: func(ctx context.Context, _ int) error {
		_, err := s.do(ctx, http.MethodPost, s.floors.URL+bench.PathBytes, "", bytes.NewReader(same))
		return err
	}}, nil
}

// tokens asks for tokens with a script's credentials, keeps the refresh token, and gives
// the access token.
func (s *benchStage) tokens(ctx context.Context, caller int, form url.Values) (access string, err error) {
	script := &s.scripts[caller]
	form.Set("client_id", script.clientID)
	form.Set("client_secret", script.secret)
	body, err := s.do(ctx, http.MethodPost, s.bridge.URL()+"/oauth2/token", "", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	var issued struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &issued); err != nil {
		return "", fmt.Errorf("read a token's answer: %w", err)
	}
	script.refresh = issued.RefreshToken
	return issued.AccessToken, nil
}

// do asks and gives the answer; one that is not 200 is an error.
func (s *benchStage) do(ctx context.Context, method, to, token string, body io.Reader) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := s.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s answered %d: %.200s", method, r.URL.Path, response.StatusCode, said)
	}
	return said, nil
}
