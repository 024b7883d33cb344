package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

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

func appSecretListCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{
		Use:   "list CLIENT_ID",
		Short: "List the secrets of an application, the newest first",
		Args:  cobra.ExactArgs(1),
	}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, args []string, r *app.Record) error {
		client, err := clientBy(c.Context(), r, args[0])
		if err != nil {
			return err
		}
		return list(&out, p.stdout, secretsOf(client), "SECRET_ID\tCREATED\tLAST_USED", func(s secret) string {
			used := "never"
			if s.LastUsedAt != nil {
				used = s.LastUsedAt.Format(time.RFC3339)
			}
			return fmt.Sprintf("%d\t%s\t%s", s.ID, s.CreatedAt.Format(time.RFC3339), used)
		})
	})
	return c
}

func appSecretRemoveCommand(p process) *cobra.Command {
	var out printer
	var last bool
	c := &cobra.Command{
		Use:   "remove CLIENT_ID SECRET_ID",
		Short: "End a secret; \"app secret list\" tells their numbers",
		Args:  cobra.ExactArgs(2),
	}
	c.Flags().BoolVar(&last, "last", false, "Also if it is the only one: the application gets no token then until it has another one.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	var id int64
	remove := administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		client, err := clientBy(c.Context(), r, args[0])
		if err != nil {
			return err
		}
		if !last && len(client.Secrets) == 1 && client.Secrets[0].ID == id {
			return errors.New("it is the only secret of the application: add another one first, or remove it with --last")
		}
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

// clientBy finds an application. One that is not there is a *oauth.FieldError.
func clientBy(ctx context.Context, r *app.Record, id string) (oauth.Client, error) {
	client, err := r.OAuth.ClientByID(ctx, id)
	if errors.Is(err, oauth.ErrNotFound) {
		return oauth.Client{}, &oauth.FieldError{Field: "client_id", Problem: "names no application", Err: err}
	}
	return client, err
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
