package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/oauth"
)

func appSecretAddCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{
		Use:   "add CLIENT_ID",
		Short: "Give an application a second secret, printed this once",
		Long: `Give an application a second secret, which is printed this once. Both work until the old one is
removed, so that the application can change over without an outage.`,
		Args: cobra.ExactArgs(1),
	}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		clientSecret, err := r.OAuth.AddSecret(c.Context(), args[0])
		if err != nil {
			return err
		}
		added := struct {
			ClientID     string `json:"client_id"`
			ClientSecret string `json:"client_secret"`
		}{args[0], clientSecret}
		return out.print(p.stdout, added, func(w io.Writer) {
			fmt.Fprintf(w, "client_id\t%s\nclient_secret\t%s\n\nThe secret cannot be shown again.\n", added.ClientID, added.ClientSecret)
		})
	})
	return c
}

func appSecretRemoveCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{
		Use:   "remove CLIENT_ID SECRET_ID",
		Short: "End a secret; \"app list\" tells their numbers",
		Args:  cobra.ExactArgs(2),
	}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	var id int64
	remove := administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		if err := r.OAuth.RemoveSecret(c.Context(), args[0], id); err != nil {
			return err
		}
		removed := struct {
			ClientID string `json:"client_id"`
			SecretID int64  `json:"secret_id"`
		}{args[0], id}
		return out.print(p.stdout, removed, func(w io.Writer) {
			fmt.Fprintf(w, "client_id\t%s\nsecret_id\t%d\n\nThe secret works no more.\n", removed.ClientID, removed.SecretID)
		})
	})
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if id, err = strconv.ParseInt(args[1], 10, 64); err != nil {
			return errors.New("SECRET_ID is not a number")
		}
		return remove(c, args)
	}
	return c
}

func secretsOf(c oauth.Client) []secret {
	var secrets []secret
	for _, s := range c.Secrets {
		told := secret{ID: s.ID, CreatedAt: s.CreatedAt}
		if !s.LastUsedAt.IsZero() {
			told.LastUsedAt = &s.LastUsedAt
		}
		secrets = append(secrets, told)
	}
	return secrets
}

// secretIDs are the numbers of secrets as a cell of a table.
func secretIDs(secrets []secret) string {
	if len(secrets) == 0 {
		return "none"
	}
	var ids []string
	for _, s := range secrets {
		ids = append(ids, strconv.FormatInt(s.ID, 10))
	}
	return strings.Join(ids, ",")
}
