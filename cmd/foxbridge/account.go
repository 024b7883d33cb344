package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
)

func userPasswdCommand(p process) *cobra.Command {
	var out printer
	var given passwordFlags
	var endTokens bool
	c := &cobra.Command{
		Use:   "passwd EMAIL",
		Short: "Give a person another password; all browsers are signed out",
		Long: `Give a person another password, and sign out all browsers. Without a given password one is made up
and printed, this once.`,
		Args: cobra.ExactArgs(1),
	}
	given.define(c)
	c.Flags().BoolVar(&endTokens, "end-tokens", false, "Also end what applications may do for the person, and remove app passwords.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		password, madeUp, err := given.password(p.stdin)
		if err != nil {
			return err
		}
		changed, err := r.OAuth.SetPassword(c.Context(), args[0], password, endTokens)
		if err != nil {
			return err
		}
		u := userOf(changed)
		u.Password = madeUp
		return out.print(p.stdout, u, func(w io.Writer) {
			fmt.Fprintf(w, "id\t%d\nemail\t%s\n", u.ID, u.Email)
			if madeUp != "" {
				fmt.Fprintf(w, "password\t%s\n\nThe password cannot be shown again.\n", madeUp)
			}
		})
	})
	return c
}

func userOperatorCommand(p process) *cobra.Command {
	var out printer
	var revoke bool
	c := &cobra.Command{
		Use:   "operator EMAIL",
		Short: "Let a person decide on the applications that people request",
		Args:  cobra.ExactArgs(1),
	}
	c.Flags().BoolVar(&revoke, "revoke", false, "The person may not do that any more.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		changed, err := r.OAuth.SetOperator(c.Context(), args[0], !revoke)
		if err != nil {
			return err
		}
		u := userOf(changed)
		return out.print(p.stdout, u, func(w io.Writer) {
			fmt.Fprintf(w, "id\t%d\nemail\t%s\noperator\t%t\n", u.ID, u.Email, u.Operator)
		})
	})
	return c
}
