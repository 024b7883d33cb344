package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
	unitlib "github.com/foxbridge/foxbridge/mqtt/unit"
)

// firmware is what a simulated unit says of itself.
const firmware = "foxbridge-simulator/1"

// homeStopLimit is how long a simulated home may take to say that it goes.
const homeStopLimit = 5 * time.Second

func simulateCommand(p process) *cobra.Command {
	var out printer
	var url, file string
	var behaviour unitlib.HomeOptions
	c := &cobra.Command{
		Use:   "simulate --mqtt-url tcp://HOST:PORT --unit-file FILE",
		Short: "Play a home whose unit is registered, until SIGINT or SIGTERM",
		Long: `Play a home whose unit is registered, until SIGINT or SIGTERM. SIGUSR1 is a break-in: if the
alarm is armed and its exit delay is over, the siren sounds.`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&url, "mqtt-url", variableOf(p.environ, "FOXBRIDGE_MQTT_URL"), "Broker to connect to, as tcp://HOST:PORT. (environment FOXBRIDGE_MQTT_URL)")
	c.Flags().StringVar(&file, "unit-file", "", "`file` with what \"unit add --json\" printed.")
	c.Flags().DurationVar(&behaviour.Travel, "travel", 8*time.Second, "How long a shutter takes from closed to open.")
	c.Flags().DurationVar(&behaviour.ExitDelay, "exit-delay", 15*time.Second, "How long after arming the alarm begins to watch.")
	out.flag(c.Flags())
	required(c, "unit-file")
	c.RunE = func(c *cobra.Command, args []string) error {
		if url == "" {
			return errors.New("--mqtt-url is not given")
		}
		if behaviour.Travel <= 0 || behaviour.ExitDelay <= 0 {
			return errors.New("--travel and --exit-delay must be above zero")
		}
		return action(func(c *cobra.Command, _ []string) error {
			unit, err := readUnitFile(file)
			if err != nil {
				return err
			}
			return simulate(c.Context(), p, &out, url, unit, behaviour)
		})(c, args)
	}
	return c
}

func readUnitFile(path string) (newUnit, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return newUnit{}, fmt.Errorf("read unit file: %w", err)
	}
	var u newUnit
	if err := json.Unmarshal(text, &u); err != nil {
		return newUnit{}, fmt.Errorf("read unit file %s: it is not what \"unit add --json\" prints: %w", path, err)
	}
	return u, nil
}

// simulate plays the home until ctx ends.
func simulate(ctx context.Context, p process, out *printer, url string, u newUnit, behaviour unitlib.HomeOptions) error {
	home, err := newHome(u, url, behaviour, app.NewLogger(p.stderr, "text", "info"))
	if err != nil {
		return err
	}
	if err := home.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // stopped before it had a connection
		}
		return err
	}
	status := struct {
		UnitID    string `json:"unit_id"`
		Connected bool   `json:"connected"`
	}{u.UnitID, true}
	err = out.print(p.stdout, status, func(w io.Writer) {
		fmt.Fprintf(w, "Unit %s is connected to %s.\n", u.UnitID, url)
	})
	if err == nil {
		breakIns(ctx, home, p.stderr)
	}
	return errors.Join(err, stopHome(ctx, home))
}

// newHome makes the simulated home of a registered unit.
func newHome(u newUnit, url string, behaviour unitlib.HomeOptions, log *slog.Logger) (*unitlib.Home, error) {
	dial, err := mqtt.Dialer(nil, url)
	if err != nil {
		return nil, err
	}
	kinds := make(map[int64]devices.Kind, len(u.Devices))
	for _, d := range u.Devices {
		kinds[d.DeviceID] = d.Kind
	}
	return unitlib.NewHome(unitlib.Config{
		Dial: dial, Unit: u.UnitID, Password: u.Password, Devices: kinds, Firmware: firmware, Logger: log,
	}, behaviour)
}

func stopHome(ctx context.Context, home *unitlib.Home) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), homeStopLimit)
	defer cancel()
	return home.Stop(ctx)
}

// breakIns lets somebody break in at each SIGUSR1, until ctx ends.
func breakIns(ctx context.Context, home *unitlib.Home, say io.Writer) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	defer signal.Stop(signals)
	for {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		if home.TriggerIntrusion() {
			fmt.Fprintln(say, "Break-in: the siren sounds.")
		} else {
			fmt.Fprintln(say, "Break-in: nothing rings; the alarm is off, still in its exit delay, or ringing already.")
		}
	}
}

// variableOf gives the value of a variable in the form of os.Environ.
func variableOf(environ []string, name string) string {
	for _, v := range environ {
		if value, is := strings.CutPrefix(v, name+"="); is {
			return value
		}
	}
	return ""
}
