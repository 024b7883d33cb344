package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
)

func migrateCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database to the schema that this version needs",
		Long: `Bring the database to the schema that this version needs. A PostgreSQL database needs
this before the first start and after an upgrade; several at once are harmless. A SQLite
database is also migrated whenever the bridge starts, or a command writes to it, but never
while a bridge serves it.`,
		Args: cobra.NoArgs,
	}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := config.Load(c.Flags(), p.environ)
		if err != nil {
			return err
		}
		return action(func(c *cobra.Command, _ []string) error {
			dialect, err := app.Migrate(c.Context(), cfg)
			if err != nil {
				return err
			}
			result := struct {
				Database string `json:"database"` // sqlite or postgres
				Status   string `json:"status"`
			}{dialect, "current"}
			return out.print(p.stdout, result, func(w io.Writer) {
				fmt.Fprintf(w, "The %s database has the schema that this version needs.\n", dialect)
			})
		})(c, args)
	}
	return c
}
