package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/oauth"
)

// process is what a run of the program gets from the system.
type process struct {
	args           []string
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Exit codes.
const (
	exitOK    = 0
	exitFail  = 1 // it was tried and failed
	exitUsage = 2 // it was not tried: the command line, a variable or the file is wrong
)

// run carries out the command line until it is done or ctx ends, and returns the
// exit code.
func run(ctx context.Context, p process) int {
	root := newRoot(p)
	root.SetArgs(p.args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(p.stderr, "foxbridge:", err)
	if _, tried := errors.AsType[*failure](err); tried {
		return exitFail
	}
	return exitUsage
}

func newRoot(p process) *cobra.Command {
	root := &cobra.Command{
		Use:   "foxbridge",
		Short: "A device cloud for homes: REST and OAuth 2.0 on one side, MQTT to the houses on the other",

		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		serveCommand(p), migrateCommand(p), demoCommand(p), simulateCommand(p), benchCommand(p), versionCommand(),
		group("user", "People with an account", userAddCommand(p), userPasswdCommand(p), userOperatorCommand(p), userListCommand(p), userFactorsCommand(p), userDisableCommand(p), userEnableCommand(p)),
		group("app", "Applications that people registered", appAddCommand(p), appRequestCommand(p), appApproveCommand(p), appRejectCommand(p), appListCommand(p), appLegacyCommand(p), appDeleteCommand(p),
			appHistoryCommand(p), appLimitsCommand(p), appDeactivateCommand(p), appReactivateCommand(p),
			group("secret", "Secrets of an application", appSecretAddCommand(p), appSecretListCommand(p), appSecretRemoveCommand(p))),
		group("policy", "The issuance policy, tried out", policySimulateCommand(p), policyRehearseCommand(p, inspectIssuance(p))),
		group("site", "Homes", siteAddCommand(p), siteListCommand(p),
			siteInviteCommand(p), siteUninviteCommand(p), siteJoinCommand(p), siteMembersCommand(p), siteLeaveCommand(p),
			group("group", "Devices of a home that are commanded together", groupAddCommand(p), groupListCommand(p), groupRemoveCommand(p)),
			group("scenario", "Lists of operations", scenarioAddCommand(p), scenarioListCommand(p), scenarioEnableCommand(p), scenarioDisableCommand(p), scenarioRemoveCommand(p))),
		group("unit", "HomeControl units, the boxes in the homes", unitAddCommand(p), unitSecretCommand(p), unitListCommand(p)),
	)
	wrapUsages(root)
	return root
}

// group is a command that only holds others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   name,
		Short: short,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
			}
			return c.Help()
		},
	}
	c.AddCommand(commands...)
	return c
}

// wrapUsages makes long descriptions of flags readable in a terminal.
func wrapUsages(c *cobra.Command) {
	c.SetUsageFunc(func(c *cobra.Command) error {
		w := c.OutOrStderr()
		if c.HasAvailableSubCommands() {
			fmt.Fprintf(w, "Usage:\n  %s COMMAND\n\nCommands:\n", c.CommandPath())
			for _, sub := range c.Commands() {
				if sub.IsAvailableCommand() {
					fmt.Fprintf(w, "  %-10s %s\n", sub.Name(), sub.Short)
				}
			}
			return nil
		}
		_, err := fmt.Fprintf(w, "Usage:\n  %s\n\nFlags:\n%s", c.UseLine(), c.LocalFlags().FlagUsagesWrapped(100))
		return err
	})
}

// failure marks an error of a command that was carried out, as against one of its
// command line.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// action makes the RunE of a command: what do returns is a failure, exit code 1.
func action(do func(c *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if err := do(c, args); err != nil {
			return &failure{err}
		}
		return nil
	}
}

// administer makes the RunE of a command that works on the record, beside a running
// bridge or without one. Settings that cannot be read are a usage error.
func administer(p process, do func(c *cobra.Command, args []string, r *app.Record) error) func(*cobra.Command, []string) error {
	return onRecord(p, false, do)
}

// inspect is administer for a command that only reads: it makes no database, and
// migrates none.
func inspect(p process, do func(c *cobra.Command, args []string, r *app.Record) error) func(*cobra.Command, []string) error {
	return onRecord(p, true, do)
}

func onRecord(p process, inspect bool, do func(c *cobra.Command, args []string, r *app.Record) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		cfg, err := config.Load(c.Flags(), p.environ)
		if err != nil {
			return err
		}
		return action(func(c *cobra.Command, args []string) (err error) {
			r, err := app.OpenRecord(c.Context(), cfg, inspect)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			return withHint(do(c, args, r))
		})(c, args)
	}
}

// withHint says beside a client_id that is wrong where the right ones are.
func withHint(err error) error {
	if wrong, is := errors.AsType[*oauth.FieldError](err); is && wrong.Field == "client_id" {
		return fmt.Errorf("%w; foxbridge app list tells them", err)
	}
	return err
}

// recordFlags defines the flags that tell where the record is.
func recordFlags(flags *pflag.FlagSet) {
	config.AddFileFlag(flags)
	config.AddFlags(flags, "data-dir", "database-url")
}

// required marks flags without which the command is not carried out.
func required(c *cobra.Command, names ...string) {
	for _, name := range names {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is not defined: a mistake in this program
		}
	}
}

// printer writes a command's result, as JSON or for people.
type printer struct{ asJSON bool }

func (o *printer) flag(flags *pflag.FlagSet) {
	flags.BoolVar(&o.asJSON, "json", false, "Print JSON, for programs.")
}

// print writes v as JSON if that was asked for, else calls forPeople.
func (o *printer) print(w io.Writer, v any, forPeople func(w io.Writer)) error {
	if o.asJSON {
		return writeJSON(w, v)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	forPeople(t)
	return t.Flush()
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// list writes rows as a JSON array or as a table with these column heads.
func list[T any](o *printer, w io.Writer, rows []T, heads string, row func(T) string) error {
	if rows == nil {
		rows = []T{} // [] and not null
	}
	return o.print(w, rows, func(w io.Writer) {
		fmt.Fprintln(w, heads)
		for _, r := range rows {
			fmt.Fprintln(w, row(r))
		}
	})
}

// pageSize is how many rows an administrator's list reads at once.
const pageSize = 500

// pages reads a list page by page; next gives what follows the last row of a page.
func pages[T any](next func(last *T) ([]T, error), each func(T) error) error {
	var last *T
	for {
		page, err := next(last)
		if err != nil {
			return err
		}
		for _, row := range page {
			if err := each(row); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
		last = &page[len(page)-1]
	}
}
