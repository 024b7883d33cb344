package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/foxbridge/foxbridge/cmd/demo-app/demoapp"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/oauth"
)

// application of the demo, while it is served.
type demoApplication struct {
	cancel context.CancelFunc
	served chan error
}

// stopApplicationWithin is how long what the demo application has begun may take: a
// command is answered within 10 s.
const stopApplicationWithin = 10 * time.Second

// startApplication registers the demo application as a commercial one, approves it and
// serves it, and notes in env how to reach it. It is stopped by its stop alone.
func (d *demo) startApplication(ctx context.Context, bridge *app.App, env *demoEnv) (_ *demoApplication, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", d.appAddress)
	if err != nil {
		return nil, fmt.Errorf("listen for the demo application: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, listener.Close())
		}
	}()
	env.DemoAppURL = "http://" + listener.Addr().String()
	env.CommercialRedirectURI = env.DemoAppURL + demoapp.RedirectPath
	record := bridge.Record()
	client, secret, err := record.OAuth.RequestCommercial(ctx, oauth.CommercialRequest{
		OwnerEmail: env.Username, Name: "Demo application", Description: "Shows your home, arms it and switches things.",
		RedirectURIs: []string{env.CommercialRedirectURI}, Scopes: demoapp.Scopes(),
	})
	if err != nil {
		return nil, err
	}
	if err := record.OAuth.Approve(ctx, client.ID); err != nil {
		return nil, err
	}
	env.CommercialClientID, env.CommercialClientSecret = client.ID, secret
	handler, err := demoapp.New(demoapp.Options{
		URL: env.DemoAppURL, Server: env.URL, ClientID: client.ID, ClientSecret: secret,
		Logger: app.NewLogger(d.p.stderr, d.cfg.LogFormat, d.cfg.LogLevel),
	})
	if err != nil {
		return nil, err
	}
	// It is served until the bridge is about to stop, not until ctx ends.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a := &demoApplication{cancel: cancel, served: make(chan error, 1)}
	go func() { a.served <- demoapp.Serve(ctx, listener, handler, stopApplicationWithin) }()
	return a, nil
}

// stop finishes what was begun.
func (a *demoApplication) stop() error {
	a.cancel()
	return <-a.served
}
