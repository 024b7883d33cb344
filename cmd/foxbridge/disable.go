package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/oauth"
)

func userDisableCommand(p process) *cobra.Command {
	return disablingCommand(p, true, (*oauth.Service).DisableUser, "disable EMAIL", "Refuse a person's sessions, tokens and personal applications, at once", "")
}

func userEnableCommand(p process) *cobra.Command {
	return disablingCommand(p, false, (*oauth.Service).EnableUser, "enable EMAIL", "Undo \"disable\"",
		"Undo \"disable\": what has not expired since then works again.")
}

// disablingCommand is disable or enable.
func disablingCommand(p process, disabled bool, do func(*oauth.Service, context.Context, string) error, use, short, long string) *cobra.Command {
	var out printer
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ExactArgs(1)}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		if err := do(r.OAuth, c.Context(), args[0]); err != nil {
			return err
		}
		done := struct {
			Email    string `json:"email"`
			Disabled bool   `json:"disabled"`
		}{args[0], disabled}
		return out.print(p.stdout, done, func(w io.Writer) {
			fmt.Fprintf(w, "email\t%s\ndisabled\t%t\n", done.Email, done.Disabled)
		})
	})
	return c
}
