package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
)

func unitSecretCommand(p process) *cobra.Command {
	var out printer
	var reset bool
	c := &cobra.Command{
		Use:   "secret UNIT --reset",
		Short: "Replace a unit's password, printed this once",
		Long: `Replace a unit's password, which is printed this once. The one before works no more, and a unit that is
connected with it is cut off within seconds.`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().BoolVar(&reset, "reset", false, "Do it: there is no way back.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "reset")
	replace := administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		password, err := r.Devices.ReplaceSecret(c.Context(), args[0])
		if err != nil {
			return err
		}
		replaced := struct {
			UnitID   string `json:"unit_id"`
			Password string `json:"password"`
		}{args[0], password}
		return out.print(p.stdout, replaced, func(w io.Writer) {
			fmt.Fprintf(w, "unit_id\t%s\npassword\t%s\n\nThe password cannot be shown again.\n", replaced.UnitID, replaced.Password)
		})
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if !reset {
			return errors.New("a unit's password can only be replaced: say --reset")
		}
		return replace(c, args)
	}
	return c
}
