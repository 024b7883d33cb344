package main

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/oauth"
)

func serveCommand(p process) *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the bridge until SIGINT or SIGTERM",
		Long: `Run the bridge until SIGINT or SIGTERM, then finish what was accepted and stop.

Each setting is a flag, an environment variable or a key of the YAML file, in this order.`,
		Args: cobra.NoArgs,
	}
	c.Flags().SortFlags = false
	config.AddFileFlag(c.Flags())
	config.AddFlags(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := config.Load(c.Flags(), p.environ)
		if err != nil {
			return err
		}
		return action(func(c *cobra.Command, _ []string) error {
			return serve(c.Context(), p, cfg)
		})(c, args)
	}
	return c
}

// serve runs a bridge until ctx ends or a part of it fails.
func serve(ctx context.Context, p process, cfg config.Config) error {
	if cfg.OperatorContact == "" && cfg.IssuanceMode == string(oauth.ModeEnforce) {
		app.NewLogger(p.stderr, cfg.LogFormat, cfg.LogLevel).
			WarnContext(ctx, "operator-contact is not set: owners of applications that only an operator can reactivate are not told where to ask")
	}
	bridge, err := startBridge(ctx, p, cfg)
	if err != nil && ctx.Err() != nil {
		return nil //nolint:nilerr // stopped before it had started
	}
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case err = <-bridge.Failed():
	}
	return errors.Join(err, bridge.Stop(context.WithoutCancel(ctx)))
}

func startBridge(ctx context.Context, p process, cfg config.Config) (*app.App, error) {
	bridge, err := app.New(ctx, cfg, app.Options{
		Logger:   app.NewLogger(p.stderr, cfg.LogFormat, cfg.LogLevel),
		Registry: prometheus.NewRegistry(),
		Version:  versionOf(version, debug.ReadBuildInfo),
	})
	if err != nil {
		return nil, err
	}
	if err := bridge.Start(ctx); err != nil {
		return nil, errors.Join(err, bridge.Stop(context.WithoutCancel(ctx)))
	}
	return bridge, nil
}
