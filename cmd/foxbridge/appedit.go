package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/oauth"
)

// waiting is an edit of an application that waits for an operator: what it will be.
type waiting struct {
	Edition      int64     `json:"edition"`
	Since        time.Time `json:"since"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	HomePage     string    `json:"home_page"`
	RedirectURIs []string  `json:"redirect_uris"`
	Scope        string    `json:"scope"`
	Public       bool      `json:"public"`
	RequirePKCE  bool      `json:"require_pkce"`
	RequireScope bool      `json:"require_scope"`
	Legacy       bool      `json:"legacy"`
	Logo         string    `json:"logo"` // SHA-256 of the picture, in hex; empty: none
}

func waitingOf(h oauth.HeldEdit) *waiting {
	c := h.Client
	var logo string
	if c.Logo != (oauth.Hash{}) {
		logo = hex.EncodeToString(c.Logo[:])
	}
	return &waiting{
		Edition: c.Edition, Since: h.Since, Name: c.Name, Description: c.Description, HomePage: c.HomePage,
		RedirectURIs: c.RedirectURIs, Scope: c.Scope.String(),
		Public: c.Public, RequirePKCE: c.RequirePKCE, RequireScope: c.RequireScope, Legacy: c.Legacy, Logo: logo,
	}
}

// edition is how the list tells it; an edit that waits has a mark.
func (a application) edition() string {
	switch {
	case a.Commercial == nil:
		return "-"
	case a.Commercial.Waiting != nil:
		return fmt.Sprint(a.Commercial.Waiting.Edition, " waits")
	default:
		return fmt.Sprint(a.Commercial.Edition)
	}
}

// heldEdits are all edits that wait, by client_id.
func heldEdits(ctx context.Context, r *app.Record) (map[string]oauth.HeldEdit, error) {
	held := make(map[string]oauth.HeldEdit)
	err := pages(func(last *oauth.HeldEdit) ([]oauth.HeldEdit, error) {
		if last == nil {
			return r.OAuth.HeldEdits(ctx, "", pageSize)
		}
		return r.OAuth.HeldEdits(ctx, last.Client.ID, pageSize)
	}, func(h oauth.HeldEdit) error {
		held[h.Client.ID] = h
		return nil
	})
	return held, err
}

func appLegacyCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{
		Use:   "legacy CLIENT_ID on|off",
		Short: "Let an application use the implicit grant, or no longer",
		Long: `Let a commercial application use the implicit grant, in which the access token passes through the
browser's address, or no longer. It is for old clients that cannot be changed.`,
		Args: cobra.ExactArgs(2),
	}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	set := administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		on := args[1] == "on"
		if err := r.OAuth.SetLegacy(c.Context(), args[0], on); err != nil {
			return err
		}
		done := struct {
			ClientID string `json:"client_id"`
			Legacy   bool   `json:"legacy"`
		}{args[0], on}
		return out.print(p.stdout, done, func(w io.Writer) {
			fmt.Fprintf(w, "client_id\t%s\nlegacy\t%t\n", done.ClientID, done.Legacy)
		})
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if args[1] != "on" && args[1] != "off" {
			return errors.New("say on or off")
		}
		return set(c, args)
	}
	return c
}

func appDeleteCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{
		Use:   "delete CLIENT_ID",
		Short: "Do away with an application: its secrets and tokens are dead at once",
		Args:  cobra.ExactArgs(1),
	}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		if err := r.OAuth.DeleteClient(c.Context(), args[0]); err != nil {
			return err
		}
		done := struct {
			ClientID string       `json:"client_id"`
			Status   oauth.Status `json:"status"`
		}{args[0], oauth.Deleted}
		return out.print(p.stdout, done, func(w io.Writer) {
			fmt.Fprintf(w, "client_id\t%s\nstatus\t%s\n", done.ClientID, done.Status)
		})
	})
	return c
}
