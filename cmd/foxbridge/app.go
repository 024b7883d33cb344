package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/oauth"
)

// application is a registered application as the commands print one.
type application struct {
	ClientID     string    `json:"client_id"`
	ClientSecret string    `json:"client_secret,omitempty"` // only of a new application
	Name         string    `json:"name"`
	Kind         string    `json:"kind"`
	OwnerID      int64     `json:"owner_id"`
	CreatedAt    time.Time `json:"created_at"`
}

func applicationOf(c oauth.Client) application {
	return application{ClientID: c.ID, Name: c.Name, Kind: string(c.Kind), OwnerID: c.OwnerID, CreatedAt: c.CreatedAt}
}

func appAddCommand(p process) *cobra.Command {
	var out printer
	var owner, name string
	c := &cobra.Command{
		Use:   "add --owner EMAIL --name NAME",
		Short: "Register a personal application; its secret is printed this once",
		Args:  cobra.NoArgs,
	}
	c.Flags().StringVar(&owner, "owner", "", "E-mail address of the person it belongs to, and for whom alone it can get tokens.")
	c.Flags().StringVar(&name, "name", "", "How the application is called in the history of a home.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "owner", "name")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		client, secret, err := r.OAuth.AddClient(c.Context(), owner, name)
		if err != nil {
			return err
		}
		a := applicationOf(client)
		a.ClientSecret = secret
		return out.print(p.stdout, a, func(w io.Writer) {
			fmt.Fprintf(w, "client_id\t%s\nclient_secret\t%s\nname\t%s\n\nThe secret cannot be shown again.\n", a.ClientID, secret, a.Name)
		})
	})
	return c
}

func appListCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{Use: "list", Short: "List applications", Args: cobra.NoArgs}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		var applications []application
		err := pages(func(last *oauth.Client) ([]oauth.Client, error) {
			if last == nil {
				return r.OAuth.Clients(c.Context(), "", pageSize)
			}
			return r.OAuth.Clients(c.Context(), last.ID, pageSize)
		}, func(client oauth.Client) error {
			applications = append(applications, applicationOf(client))
			return nil
		})
		if err != nil {
			return err
		}
		return list(&out, p.stdout, applications, "CLIENT_ID\tNAME\tKIND\tOWNER\tCREATED", func(a application) string {
			return fmt.Sprintf("%s\t%s\t%s\t%d\t%s", a.ClientID, a.Name, a.Kind, a.OwnerID, a.CreatedAt.Format(time.RFC3339))
		})
	})
	return c
}
