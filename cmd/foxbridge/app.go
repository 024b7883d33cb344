package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/oauth"
)

// application is a registered application as the commands print one.
type application struct {
	ClientID     string       `json:"client_id"`
	ClientSecret string       `json:"client_secret,omitempty"` // only of a new application, and not of a public one
	Name         string       `json:"name"`
	Kind         oauth.Kind   `json:"kind"`
	Status       oauth.Status `json:"status"`
	OwnerID      int64        `json:"owner_id"`
	Owner        string       `json:"owner,omitempty"` // e-mail address; in a list only
	CreatedAt    time.Time    `json:"created_at"`
	Commercial   *commercial  `json:"commercial,omitempty"`
	Secrets      []secret     `json:"secrets,omitempty"` // in a list only; the newest first
}

// commercial is what only a commercial application has.
type commercial struct {
	Description  string   `json:"description"`
	HomePage     string   `json:"home_page"`
	RedirectURIs []string `json:"redirect_uris"`
	Scope        string   `json:"scope"`
	Public       bool     `json:"public"`
	RequirePKCE  bool     `json:"require_pkce"`
	RequireScope bool     `json:"require_scope"`
	Legacy       bool     `json:"legacy"`
	Edition      int64    `json:"edition"` // how often it was edited
	Waiting      *waiting `json:"waiting,omitempty"`
}

// secret is what the commands tell of a live client_secret.
type secret struct {
	ID         int64      `json:"id"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"` // to the minute; null if it never was
}

func applicationOf(c oauth.Client) application {
	a := application{ClientID: c.ID, Name: c.Name, Kind: c.Kind, Status: c.Status, OwnerID: c.OwnerID, CreatedAt: c.CreatedAt}
	if c.Kind == oauth.Commercial {
		a.Commercial = &commercial{
			Description: c.Description, HomePage: c.HomePage, RedirectURIs: c.RedirectURIs, Scope: c.Scope.String(),
			Public: c.Public, RequirePKCE: c.RequirePKCE, RequireScope: c.RequireScope, Legacy: c.Legacy, Edition: c.Edition,
		}
	}
	return a
}

// newApplication prints an application that was just registered.
func newApplication(out *printer, w io.Writer, c oauth.Client, clientSecret string) error {
	a := applicationOf(c)
	a.ClientSecret = clientSecret
	return out.print(w, a, func(w io.Writer) {
		fmt.Fprintf(w, "client_id\t%s\n", a.ClientID)
		if a.ClientSecret != "" {
			fmt.Fprintf(w, "client_secret\t%s\n", a.ClientSecret)
		}
		fmt.Fprintf(w, "name\t%s\nkind\t%s\nstatus\t%s\n\n", a.Name, a.Kind, a.Status)
		if a.ClientSecret != "" {
			fmt.Fprintln(w, "The secret cannot be shown again.")
		}
		if a.Status == oauth.Pending {
			fmt.Fprintf(w, "It can be used once it is approved: foxbridge app approve %s\n", a.ClientID)
		}
	})
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
	config.AddFlags(c.Flags(), "registrations")
	out.flag(c.Flags())
	required(c, "owner", "name")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		client, clientSecret, err := r.OAuth.AddClient(c.Context(), owner, name)
		if err != nil {
			return err
		}
		return newApplication(&out, p.stdout, client, clientSecret)
	})
	return c
}

func appRequestCommand(p process) *cobra.Command {
	var out printer
	var r oauth.CommercialRequest
	c := &cobra.Command{
		Use:   "request --owner EMAIL --name NAME --redirect-uri URI",
		Short: "Request a commercial application; its secret is printed this once",
		Long: `Request a commercial application, which reaches the homes of whoever consents. It can be used
once it is approved. Its secret is printed this once.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&r.OwnerEmail, "owner", "", "E-mail address of the person it belongs to.")
	f.StringVar(&r.Name, "name", "", "How the application is called where people are asked to consent, and in the history of a home.")
	f.StringVar(&r.Description, "description", "", "What it is for, in a sentence, shown to who is asked to consent.")
	f.StringVar(&r.HomePage, "home-page", "", "`URL` of its home page; https.")
	f.StringArrayVar(&r.RedirectURIs, "redirect-uri", nil, "`URI` to which people return, once for each: https, http on a loopback address, or a scheme with a dot in it.")
	f.StringArrayVar(&r.Scopes, "scope", nil, fmt.Sprintf("`NAME` of a scope that it may ask for, once for each; all if none is given. One of %s.", strings.Join(devices.Scopes(), ", ")))
	f.BoolVar(&r.Public, "public", false, "It runs where it can keep no secret, so it has none and must use PKCE.")
	f.BoolVar(&r.RequirePKCE, "require-pkce", false, "It must use PKCE although it has a secret.")
	f.BoolVar(&r.RequireScope, "require-scope", false, "It must name the scope that it asks for.")
	recordFlags(f)
	config.AddFlags(f, "registrations")
	out.flag(f)
	required(c, "owner", "name", "redirect-uri")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, record *app.Record) error {
		if len(r.Scopes) == 0 {
			r.Scopes = record.OAuth.Scopes()
		}
		client, clientSecret, err := record.OAuth.RequestCommercial(c.Context(), r)
		if err != nil {
			return err
		}
		return newApplication(&out, p.stdout, client, clientSecret)
	})
	return c
}

func appApproveCommand(p process) *cobra.Command {
	return decisionCommand(p, "approve", "Let a pending application be used, or an edit of one hold", oauth.Active)
}

func appRejectCommand(p process) *cobra.Command {
	return decisionCommand(p, "reject", "Refuse a pending application, or an edit of one", oauth.Rejected)
}

// decisionCommand is approve or reject.
func decisionCommand(p process, name, short string, to oauth.Status) *cobra.Command {
	var out printer
	var reason string
	var edition int64
	c := &cobra.Command{Use: name + " CLIENT_ID", Short: short, Args: cobra.ExactArgs(1)}
	if to == oauth.Rejected {
		c.Flags().StringVar(&reason, "reason", "", "Why, in at most 500 characters; its owner is shown it.")
	}
	c.Flags().Int64Var(&edition, "edition", 0, "`EDITION` of an application that was edited, or of an edit that waits; \"app list\" tells it.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		d := oauth.Decision{ClientID: args[0], Edition: edition, Approve: to == oauth.Active, Reason: reason}
		if err := r.OAuth.Decide(c.Context(), d); err != nil {
			return err
		}
		client, err := r.OAuth.ClientByID(c.Context(), args[0])
		if err != nil {
			return err
		}
		decided := struct {
			ClientID string       `json:"client_id"`
			Status   oauth.Status `json:"status"`
		}{args[0], client.Status}
		return out.print(p.stdout, decided, func(w io.Writer) {
			fmt.Fprintf(w, "client_id\t%s\nstatus\t%s\n", decided.ClientID, decided.Status)
		})
	})
	return c
}

// addresses are the e-mail addresses of all people, by their ID.
func addresses(ctx context.Context, r *app.Record) (map[int64]string, error) {
	all := make(map[int64]string)
	err := pages(func(last *oauth.User) ([]oauth.User, error) {
		if last == nil {
			return r.OAuth.Users(ctx, 0, pageSize)
		}
		return r.OAuth.Users(ctx, last.ID, pageSize)
	}, func(u oauth.User) error {
		all[u.ID] = u.Email
		return nil
	})
	return all, err
}

func appListCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{Use: "list", Short: "List applications", Args: cobra.NoArgs}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		var applications []application
		held, err := heldEdits(c.Context(), r)
		if err != nil {
			return err
		}
		owners, err := addresses(c.Context(), r)
		if err != nil {
			return err
		}
		err = pages(func(last *oauth.Client) ([]oauth.Client, error) {
			if last == nil {
				return r.OAuth.Clients(c.Context(), "", pageSize)
			}
			return r.OAuth.Clients(c.Context(), last.ID, pageSize)
		}, func(client oauth.Client) error {
			a := applicationOf(client)
			a.Owner = owners[client.OwnerID]
			a.Secrets = secretsOf(client)
			if edit, waits := held[client.ID]; waits && a.Commercial != nil {
				a.Commercial.Waiting = waitingOf(edit)
			}
			applications = append(applications, a)
			return nil
		})
		if err != nil {
			return err
		}
		return list(&out, p.stdout, applications, "CLIENT_ID\tNAME\tKIND\tSTATUS\tEDITION\tOWNER\tSECRETS\tCREATED", func(a application) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s", a.ClientID, a.Name, a.Kind, a.Status, a.edition(), a.Owner, len(a.Secrets), a.CreatedAt.Format(time.RFC3339))
		})
	})
	return c
}
