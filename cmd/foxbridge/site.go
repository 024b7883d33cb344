package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

// site is a home as the commands print one.
type site struct {
	SiteID    int64                `json:"site_id"`
	Label     string               `json:"label"`
	Timezone  string               `json:"timezone"`
	Language  devices.Language     `json:"language"`
	Owner     string               `json:"owner"`             // e-mail address
	Devices   map[devices.Kind]int `json:"devices,omitempty"` // how many of each kind; in a list only
	CreatedAt time.Time            `json:"created_at"`
}

func siteAddCommand(p process) *cobra.Command {
	var out printer
	var owner, label, timezone, language string
	c := &cobra.Command{
		Use:   "add --owner EMAIL --label LABEL [--timezone ZONE] [--language LANGUAGE]",
		Short: "Add a home",
		Args:  cobra.NoArgs,
	}
	c.Flags().StringVar(&owner, "owner", "", "E-mail address of the person it belongs to.")
	c.Flags().StringVar(&label, "label", "", "How the home is called.")
	c.Flags().StringVar(&timezone, "timezone", "Europe/Paris", "IANA name of its time zone; it says when a day of the history begins.")
	c.Flags().StringVar(&language, "language", string(devices.English), fmt.Sprintf("Language in which its history is written, one of %v.", devices.Languages()))
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "owner", "label")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		who, err := r.OAuth.UserByEmail(c.Context(), owner)
		if err != nil {
			return err
		}
		added, err := r.Devices.AddSiteIn(c.Context(), who.ID, label, timezone, devices.Language(language))
		if err != nil {
			return err
		}
		s := site{SiteID: added.ID, Label: added.Label, Timezone: added.Timezone, Language: added.Language, Owner: who.Email, CreatedAt: added.CreatedAt}
		return out.print(p.stdout, s, func(w io.Writer) {
			fmt.Fprintf(w, "site_id\t%d\nlabel\t%s\ntimezone\t%s\nlanguage\t%s\nowner\t%s\n", s.SiteID, s.Label, s.Timezone, s.Language, s.Owner)
		})
	})
	return c
}

func siteListCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{Use: "list", Short: "List homes with their owners", Args: cobra.NoArgs}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		var sites []site
		err := eachUser(c.Context(), r, func(u oauth.User) error {
			owned, err := r.Devices.Sites(c.Context(), devices.Caller{UserID: u.ID, Unscoped: true})
			for _, s := range owned {
				if s.Role != devices.Owner {
					continue
				}
				delete(s.Counts, devices.Scene) // no device
				sites = append(sites, site{
					SiteID: s.ID, Label: s.Label, Timezone: s.Timezone, Language: s.Language, Owner: u.Email, Devices: s.Counts, CreatedAt: s.CreatedAt,
				})
			}
			return err
		})
		if err != nil {
			return err
		}
		return list(&out, p.stdout, sites, "SITE_ID\tLABEL\tTIMEZONE\tOWNER\tCREATED", func(s site) string {
			return fmt.Sprintf("%d\t%s\t%s\t%s\t%s", s.SiteID, s.Label, s.Timezone, s.Owner, s.CreatedAt.Format(time.RFC3339))
		})
	})
	return c
}
