// Command foxbridge is a device cloud for homes: a REST API with OAuth 2.0 on one
// side, MQTT to the houses on the other. "foxbridge help" lists what it can do.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // sites name time zones that the machine may not have
)

// version is stamped by the linker.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A later signal ends the process at once. One that comes together with the first is
	// the same wish: timeout(1) signals a process and then its group.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	os.Exit(run(ctx, process{
		args: os.Args[1:], environ: os.Environ(),
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	}))
}
