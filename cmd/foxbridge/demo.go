package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	unitlib "github.com/foxbridge/foxbridge/mqtt/unit"
	"github.com/foxbridge/foxbridge/oauth"
)

// demoStartLimit is how long the simulated home may take to come online.
const demoStartLimit = 30 * time.Second

func demoCommand(p process) *cobra.Command {
	var out printer
	var once bool
	var envFile, appAddress string
	c := &cobra.Command{
		Use:   "demo [--once]",
		Short: "Run a whole bridge with a simulated home, or play the whole story once",
		Long: `Run a bridge on embedded defaults with a simulated home and a commercial application, until SIGINT
or SIGTERM. How to reach them is written to demo.env, which a shell can source. SIGUSR1 is a break-in: if the alarm is armed
and its exit delay is over, the siren sounds. Only flags are read, neither FOXBRIDGE_* variables
nor a file of settings. With --once the whole story of a homeowner's script is played over HTTP,
and the exit code is 0 only if the simulated home really did what the answers said.`,
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVar(&once, "once", false, "Play the story, show each request and answer, and end.")
	c.Flags().StringVar(&appAddress, "demo-app", "127.0.0.1:0", "Address of the demo application, as host:port.")
	c.Flags().StringVar(&envFile, "env-file", "", "`file` to write instead of demo.env in the data directory if that is given, else in this directory.")
	demoFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		d := demo{p: p, out: &out, once: once, envFile: envFile, appAddress: appAddress, dataDir: c.Flags().Changed("data-dir")}
		var err error
		if d.cfg, err = config.Load(c.Flags(), nil); err != nil {
			return err
		}
		return action(func(c *cobra.Command, _ []string) error {
			err := d.run(c.Context())
			if !once && c.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return nil // ended while it was starting
			}
			return err
		})(c, args)
	}
	return c
}

// demoFlags are those of serve that make sense here, with defaults of the demo's own.
func demoFlags(flags *pflag.FlagSet) {
	defaults := map[string]string{
		"http": "127.0.0.1:0", "mqtt": "127.0.0.1:0", "operator": "127.0.0.1:0",
		"data-dir": "temporary", "log-format": "text", "log-level": "warn",
	}
	for name, value := range defaults {
		config.AddFlags(flags, name)
		flags.Lookup(name).DefValue = value
		flags.Lookup(name).Usage, _, _ = strings.Cut(flags.Lookup(name).Usage, " (environment ")
	}
}

// demo is a run of the demo command.
type demo struct {
	p          process
	out        *printer
	cfg        config.Config
	once       bool
	envFile    string // empty for the standard place
	appAddress string // of the demo application
	dataDir    bool   // the user chose it, and keeps it
}

// run sets the stage, plays, and cleans up.
func (d *demo) run(ctx context.Context) (err error) {
	if !d.dataDir {
		if d.cfg.DataDir, err = os.MkdirTemp("", "foxbridge-demo-"); err != nil {
			return fmt.Errorf("create data directory: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.cfg.DataDir)) }()
	}
	bridge, err := startBridge(ctx, d.p, d.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bridge.Stop(context.WithoutCancel(ctx))) }()

	env, home, err := d.furnish(ctx, bridge)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopHome(ctx, home)) }()
	application, err := d.startApplication(ctx, bridge, &env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, application.stop()) }()
	return d.play(ctx, bridge, env, home)
}

func (d *demo) play(ctx context.Context, bridge *app.App, env demoEnv, home *unitlib.Home) (err error) {
	path := d.envPath()
	if d.once && d.envFile == "" && !d.dataDir {
		// It is over before anybody could use the file, which may be another demo's.
		return d.playOnce(ctx, env, home)
	}
	if err := env.write(path); err != nil {
		return err
	}
	if !d.dataDir { // its secrets die with the data directory
		defer func() { err = errors.Join(err, env.remove(path)) }()
	}
	if d.once {
		return d.playOnce(ctx, env, home)
	}
	if err := d.greet(env, path); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		defer cancel()
		select {
		case err := <-bridge.Failed():
			failed <- err
		case <-ctx.Done():
		}
	}()
	breakIns(ctx, home, d.p.stderr)
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func (d *demo) envPath() string {
	switch {
	case d.envFile != "":
		return d.envFile
	case d.dataDir:
		return filepath.Join(d.cfg.DataDir, "demo.env")
	default:
		return "demo.env"
	}
}

// furnish registers a person, an application and a home, starts the simulated home,
// and returns when the bridge knows that it is there.
func (d *demo) furnish(ctx context.Context, bridge *app.App) (demoEnv, *unitlib.Home, error) {
	record := bridge.Record()
	env := demoEnv{
		URL:         bridge.URL(),
		MQTTURL:     "tcp://" + bridge.MQTTAddr().String(),
		OperatorURL: "http://" + bridge.OperatorAddr().String(),
		Password:    rand.Text(),
	}
	owner, err := addDemoUser(ctx, record, env.Password)
	if err != nil {
		return demoEnv{}, nil, err
	}
	client, secret, err := record.OAuth.AddClient(ctx, owner.Email, "Demo script")
	if err != nil {
		return demoEnv{}, nil, err
	}
	site, err := record.Devices.AddSite(ctx, owner.ID, "Home", "Europe/Paris")
	if err != nil {
		return demoEnv{}, nil, err
	}
	unit, password, list, err := record.Devices.AddUnit(ctx, site.ID, demoDevices())
	if err != nil {
		return demoEnv{}, nil, err
	}
	if err := furnishTogether(ctx, record, owner.ID, site.ID, list); err != nil {
		return demoEnv{}, nil, err
	}
	env.Username, env.ClientID, env.ClientSecret, env.SiteID = owner.Email, client.ID, secret, strconv.FormatInt(site.ID, 10)

	ctx, cancel := context.WithTimeout(ctx, demoStartLimit)
	defer cancel()
	log := app.NewLogger(d.p.stderr, d.cfg.LogFormat, d.cfg.LogLevel)
	home, err := newHome(newUnitOf(unit, password, list), env.MQTTURL, unitlib.HomeOptions{}, log)
	if err != nil {
		return demoEnv{}, nil, err
	}
	if err := home.Start(ctx); err != nil {
		return demoEnv{}, nil, err
	}
	if err := awaitHome(ctx, record, devices.Caller{UserID: owner.ID, Unscoped: true}, site.ID); err != nil {
		return demoEnv{}, nil, errors.Join(err, stopHome(ctx, home))
	}
	return env, home, nil
}

// addDemoUser adds demo@example.com, or demo-XXXX@example.com if the data directory
// has that one from an earlier demo.
func addDemoUser(ctx context.Context, record *app.Record, password string) (oauth.User, error) {
	user, err := record.OAuth.AddUser(ctx, "demo@example.com", "Demo", password)
	if !errors.Is(err, oauth.ErrExists) {
		return user, err
	}
	email := "demo-" + strings.ToLower(rand.Text()[:8]) + "@example.com"
	return record.OAuth.AddUser(ctx, email, "Demo", password)
}

// demoDevices are two of each kind in the catalogue.
func demoDevices() []devices.NewDevice {
	rooms := []string{"Living room", "Bedroom"}
	var list []devices.NewDevice
	for _, kind := range devices.DeviceKinds() {
		for _, room := range rooms {
			list = append(list, devices.NewDevice{Kind: kind, Label: room + " " + string(kind)})
		}
	}
	return list
}

// furnishTogether adds a group of each kind that there can be one of, and a scenario of
// each type, of which none runs by itself until it is enabled.
func furnishTogether(ctx context.Context, record *app.Record, ownerID, siteID int64, list []devices.Device) error {
	of := map[devices.Kind][]int64{}
	for _, d := range list {
		of[d.Kind] = append(of[d.Kind], d.ID)
	}
	for _, kind := range devices.GroupKinds() {
		if _, err := record.Devices.AddGroup(ctx, siteID, kind, "All "+string(kind)+"s", of[kind]); err != nil {
			return err
		}
	}
	steps := []devices.Step{
		{Device: devices.Device{ID: of[devices.Socket][0], Kind: devices.Socket}, Operation: "on"},
		{Device: devices.Device{ID: of[devices.Shutter][0], Kind: devices.Shutter}, Operation: "close"},
	}
	for _, s := range []devices.Scenario{
		{Type: devices.OnDemand, Label: "Good night", Steps: steps},
		{Type: devices.Scheduled, Label: "Evening", Rule: []byte(`{"at":"19:30"}`), Steps: steps},
		{Type: devices.OnEvent, Label: "Light when somebody comes", Rule: []byte(`{"event":"access"}`), Steps: steps[:1]},
		{Type: devices.Simulation, Label: "As if at home", Rule: []byte(`{"from":"18:00","to":"23:00"}`), Steps: steps[:1]},
	} {
		s.SiteID, s.CreatedBy = siteID, ownerID
		if _, err := record.Devices.AddScenario(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// awaitHome waits until the bridge has taken in that the home is online and what its
// alarm says, which is the first thing after that.
func awaitHome(ctx context.Context, record *app.Record, owner devices.Caller, siteID int64) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := record.Devices.SecurityLevel(ctx, owner, siteID)
		if refusal, is := errors.AsType[*devices.Refusal](err); !is || refusal.Code != devices.NotReported {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("await the simulated home: %w", ctx.Err())
		}
	}
}

func (d *demo) playOnce(ctx context.Context, env demoEnv, home *unitlib.Home) error {
	show := func(s step) error { return showStep(d.p.stdout, s) }
	if d.out.asJSON {
		lines := json.NewEncoder(d.p.stdout)
		lines.SetEscapeHTML(false)
		show = func(s step) error { return lines.Encode(s) } // a line for each step
	}
	if err := newStory(env, home, show).play(ctx); err != nil {
		return err
	}
	result := struct {
		Done int `json:"done"` // commands that the home executed, each exactly once
	}{len(home.Executions())}
	return d.out.print(d.p.stdout, result, func(w io.Writer) {
		fmt.Fprintf(w, "\nThe simulated home did all %d commands, each exactly once.\n", result.Done)
	})
}

// greet says how to reach the demo and what to try.
func (d *demo) greet(env demoEnv, path string) error {
	greeting := struct {
		EnvFile string `json:"env_file"`
		demoEnv
	}{path, env}
	return d.out.print(d.p.stdout, greeting, func(w io.Writer) {
		source := path
		if !strings.Contains(path, "/") {
			source = "./" + path
		}
		fmt.Fprintf(w, "Foxbridge is running with a simulated home, at %s.\n\n", env.URL)
		fmt.Fprintf(w, "In a browser: an application that wants to see the home, at %s.\nSign in as %s with the password %s.\n\n", env.DemoAppURL, env.Username, env.Password)
		fmt.Fprint(w, "In another shell, in this directory:\n\n")
		fmt.Fprintf(w, "  . %s\n  TOKEN=$(%s | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\n", source, tokenCall().curl())
		for _, c := range []call{
			order("", siteOf("/security/set/armed")), read("", siteOf("/security")),
			read("", siteOf("/device/shutter/items")), read("", siteOf("/history")),
		} {
			fmt.Fprintf(w, "  %s\n", c.curl())
		}
		fmt.Fprintf(w, "  curl -sS \"$FOXBRIDGE_OPERATOR_URL/metrics\"\n  kill -USR1 %d   # a break-in, 15 s after arming\n\n", os.Getpid())
		fmt.Fprintf(w, "Its record, for the other commands of foxbridge: --data-dir %s\n\nCtrl-C ends it.\n", d.cfg.DataDir)
	})
}
