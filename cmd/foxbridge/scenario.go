package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/devices"
)

// scenario is a scenario as the commands print one.
type scenario struct {
	ScenarioID int64                `json:"scenario_id"`
	SiteID     int64                `json:"site_id"`
	Label      string               `json:"label"`
	Type       devices.ScenarioType `json:"type"`
	Enabled    bool                 `json:"enabled"`
	Rule       json.RawMessage      `json:"rule"`    // when it runs by itself
	NextAt     *time.Time           `json:"next_at"` // when it is due; null if nothing is scheduled
}

func scenarioOf(s devices.Scenario) scenario {
	out := scenario{ScenarioID: s.ID, SiteID: s.SiteID, Label: s.Label, Type: s.Type, Enabled: s.Enabled, Rule: s.Rule}
	if !s.NextAt.IsZero() {
		out.NextAt = &s.NextAt
	}
	return out
}

// next tells people when a scenario is due.
func (s scenario) next() string {
	if s.NextAt == nil {
		return "-"
	}
	return s.NextAt.Format(time.RFC3339)
}

func scenarioAddCommand(p process) *cobra.Command {
	var out printer
	var home ownersHome
	var label, kind string
	var enabled bool
	var rule ruleFlags
	var wanted []string
	c := &cobra.Command{
		Use:   "add --owner EMAIL --site ID --label LABEL [--type TYPE] --step KIND/OPERATION[:ID]...",
		Short: "Add a scenario to a home",
		Args:  cobra.NoArgs,
	}
	home.flags(c, "E-mail address of the owner for whom it runs.")
	c.Flags().StringVar(&label, "label", "", "How the scenario is called.")
	c.Flags().StringVar(&kind, "type", string(devices.OnDemand), fmt.Sprintf("What makes it run, one of %v.", devices.ScenarioTypes()))
	rule.define(c.Flags())
	c.Flags().BoolVar(&enabled, "enabled", true, "Whether it runs by itself.")
	c.Flags().StringArrayVar(&wanted, "step", nil, "`KIND/OPERATION:ID` of a device, or security/OPERATION for the alarm, once for each, in their order.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "label", "step")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		by, err := home.by(c.Context(), r)
		if err != nil {
			return err
		}
		steps, err := parseSteps(wanted)
		if err != nil {
			return err
		}
		when, err := rule.read(c.Flags())
		if err != nil {
			return err
		}
		added, err := r.Devices.AddScenario(c.Context(), devices.Scenario{
			SiteID: home.siteID, Label: label, Type: devices.ScenarioType(kind), Enabled: enabled, Rule: when, CreatedBy: by.UserID, Steps: steps,
		})
		if err != nil {
			return err
		}
		s := scenarioOf(added)
		return out.print(p.stdout, s, func(w io.Writer) {
			fmt.Fprintf(w, "scenario_id\t%d\nsite_id\t%d\nlabel\t%s\ntype\t%s\nenabled\t%t\nnext_at\t%s\n", s.ScenarioID, s.SiteID, s.Label, s.Type, s.Enabled, s.next())
		})
	})
	return c
}

// ruleFlags say when a scenario runs by itself.
type ruleFlags struct {
	days          []string
	at, from, to  string
	event, device string
}

func (f *ruleFlags) define(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.days, "days", nil, "Days of a scheduled one or a simulation, such as mon,tue; without it every day.")
	flags.StringVar(&f.at, "at", "", "`TIME` of a scheduled one by the home's clock, such as 07:30 or 07:30:15.")
	flags.StringVar(&f.from, "from", "", "`TIME` at which a simulation begins.")
	flags.StringVar(&f.to, "to", "", "`TIME` at which it ends; if it is earlier than that, the day after.")
	flags.StringVar(&f.event, "event", "", fmt.Sprintf("What sets an onEvent one off, one of %v.", devices.EventTypes()))
	flags.StringVar(&f.device, "event-device", "", "`ID` of the one device whose events do; 0 is the unit itself.")
}

// read makes a rule of those that were given.
func (f *ruleFlags) read(flags *pflag.FlagSet) (json.RawMessage, error) {
	rule := devices.Rule{Event: devices.EventType(f.event)}
	for _, text := range f.days {
		day, err := devices.ParseDay(text)
		if err != nil {
			return nil, fmt.Errorf("--days: %w", err)
		}
		rule.Days = append(rule.Days, day)
	}
	for name, into := range map[string]**devices.TimeOfDay{"at": &rule.At, "from": &rule.From, "to": &rule.To} {
		if !flags.Changed(name) {
			continue
		}
		at, err := devices.ParseTimeOfDay(flags.Lookup(name).Value.String())
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		*into = &at
	}
	if f.device != "" {
		id, err := strconv.ParseInt(f.device, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("--event-device: %q is no number", f.device)
		}
		rule.Device = &id
	}
	return json.Marshal(rule)
}

func parseSteps(wanted []string) ([]devices.Step, error) {
	var steps []devices.Step
	for _, w := range wanted {
		what, number, numbered := strings.Cut(w, ":")
		kind, operation, found := strings.Cut(what, "/")
		var id int64
		if numbered {
			var err error
			if id, err = strconv.ParseInt(number, 10, 64); err != nil {
				found = false
			}
		}
		if !found {
			return nil, errors.New("--step is not KIND/OPERATION:ID")
		}
		steps = append(steps, devices.Step{Device: devices.Device{ID: id, Kind: devices.Kind(kind)}, Operation: operation})
	}
	return steps, nil
}

func scenarioListCommand(p process) *cobra.Command {
	var out printer
	var home ownersHome
	c := &cobra.Command{Use: "list --owner EMAIL --site ID", Short: "List a home's scenarios", Args: cobra.NoArgs}
	home.flags(c, "E-mail address of an owner.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		by, err := home.by(c.Context(), r)
		if err != nil {
			return err
		}
		found, err := r.Devices.Scenarios(c.Context(), devices.Caller{UserID: by.UserID, Unscoped: true}, home.siteID)
		if err != nil {
			return err
		}
		var scenarios []scenario
		for _, s := range found {
			scenarios = append(scenarios, scenarioOf(s))
		}
		return list(&out, p.stdout, scenarios, "SCENARIO_ID\tTYPE\tENABLED\tNEXT_AT\tLABEL", func(s scenario) string {
			return fmt.Sprintf("%d\t%s\t%t\t%s\t%s", s.ScenarioID, s.Type, s.Enabled, s.next(), s.Label)
		})
	})
	return c
}

func scenarioEnableCommand(p process) *cobra.Command {
	return scenarioSwitchCommand(p, "enable", "Let a scenario run by itself")
}

func scenarioDisableCommand(p process) *cobra.Command {
	return scenarioSwitchCommand(p, "disable", "Keep a scenario from running by itself; it can be played still")
}

// scenarioSwitchCommand is enable or disable, for what that operation of the API does.
func scenarioSwitchCommand(p process, operation, short string) *cobra.Command {
	var out printer
	var home ownersHome
	var id int64
	c := &cobra.Command{Use: operation + " --owner EMAIL --site ID --scenario ID", Short: short, Args: cobra.NoArgs}
	home.flags(c, "E-mail address of an owner or a member.")
	c.Flags().Int64Var(&id, "scenario", 0, "`ID` of the scenario.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "scenario")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		by, err := home.by(c.Context(), r)
		if err != nil {
			return err
		}
		rows := devices.Catalogue()
		row := rows[slices.IndexFunc(rows, func(row devices.Row) bool { return row.Action == devices.SwitchScenario && row.Operation == operation })]
		caller := devices.Caller{UserID: by.UserID, UserName: by.Name, Unscoped: true}
		if err := r.Devices.SwitchScenario(c.Context(), caller, row, home.siteID, id); err != nil {
			return err
		}
		switched := struct {
			ScenarioID int64 `json:"scenario_id"`
			SiteID     int64 `json:"site_id"`
			Enabled    bool  `json:"enabled"`
		}{id, home.siteID, operation == "enable"}
		return out.print(p.stdout, switched, func(w io.Writer) {
			fmt.Fprintf(w, "scenario_id\t%d\nsite_id\t%d\nenabled\t%t\n", switched.ScenarioID, switched.SiteID, switched.Enabled)
		})
	})
	return c
}

func scenarioRemoveCommand(p process) *cobra.Command {
	return removeCommand(p, "scenario", func(ctx context.Context, house *devices.Service, siteID, id int64) error {
		return house.RemoveScenario(ctx, siteID, id)
	})
}
