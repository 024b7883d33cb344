// Command demo-app is a sample commercial application: people authorize it with their
// Foxbridge account, and it then shows their home, arms the alarm and switches things.
// All of what it does with Foxbridge is in the package demoapp.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/foxbridge/foxbridge/cmd/demo-app/demoapp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stderr)
	stop()
	os.Exit(code)
}

// run serves until ctx ends, and returns the exit code: 1 for a failure, 2 for a
// mistake on the command line.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	s, err := parse(args, getenv, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "demo-app:", err)
		return 2
	}
	if err := serve(ctx, s, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
		fmt.Fprintln(stderr, "demo-app:", err)
		return 1
	}
	return 0
}

// settings are what the command line says. The redirect URI to register is url with
// demoapp.RedirectPath behind it.
type settings struct {
	listen, url    string
	server         string
	clientID       string
	secret         string
	shutdownWithin time.Duration
}

func parse(args []string, getenv func(string) string, stderr io.Writer) (settings, error) {
	s := settings{shutdownWithin: 10 * time.Second}
	var secretFile string
	f := flag.NewFlagSet("demo-app", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.listen, "listen", "127.0.0.1:8090", "`host:port` to listen on")
	f.StringVar(&s.url, "url", "", "address under which people reach it; empty means http:// and the address that was taken")
	f.StringVar(&s.server, "server", getenv("FOXBRIDGE_URL"), "address of Foxbridge, such as https://home.example.com (environment FOXBRIDGE_URL)")
	f.StringVar(&s.clientID, "client-id", getenv("FOXBRIDGE_COMMERCIAL_CLIENT_ID"), "client_id (environment FOXBRIDGE_COMMERCIAL_CLIENT_ID)")
	f.StringVar(&s.secret, "client-secret", "", "client_secret; other users of this machine may see it, so rather use the file or the environment (FOXBRIDGE_COMMERCIAL_CLIENT_SECRET)")
	f.StringVar(&secretFile, "client-secret-file", "", "`file` that holds the client_secret")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	switch {
	case f.NArg() > 0:
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	case s.secret != "" && secretFile != "":
		return settings{}, errors.New("--client-secret and --client-secret-file are both given")
	case secretFile != "":
		text, err := os.ReadFile(secretFile)
		if err != nil {
			return settings{}, fmt.Errorf("read client_secret: %w", err)
		}
		s.secret = strings.TrimRight(string(text), "\r\n")
	case s.secret == "":
		s.secret = getenv("FOXBRIDGE_COMMERCIAL_CLIENT_SECRET")
	}
	return s, nil
}

func serve(ctx context.Context, s settings, log *slog.Logger) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	if s.url == "" {
		s.url = "http://" + listener.Addr().String()
	}
	handler, err := demoapp.New(demoapp.Options{
		URL: s.url, Server: s.server, ClientID: s.clientID, ClientSecret: s.secret, Logger: log,
	})
	if err != nil {
		return err
	}
	log.Info("listening", "url", s.url, "redirect_uri", s.url+demoapp.RedirectPath)
	return demoapp.Serve(ctx, listener, handler, s.shutdownWithin)
}
