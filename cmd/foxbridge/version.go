package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// stamp is what this binary is.
type stamp struct {
	Version string `json:"version"` // the linker's stamp, else what the build recorded
	Go      string `json:"go"`
}

func versionCommand() *cobra.Command {
	var out printer
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: action(func(c *cobra.Command, _ []string) error {
			s := stamp{Version: versionOf(version, debug.ReadBuildInfo), Go: runtime.Version()}
			return out.print(c.OutOrStdout(), s, func(w io.Writer) {
				fmt.Fprintf(w, "foxbridge %s, %s\n", s.Version, s.Go)
			})
		}),
	}
	out.flag(c.Flags())
	return c
}

// versionOf gives the linker's stamp if there is one, else the module's version or
// the revision that the build recorded.
func versionOf(stamped string, recorded func() (*debug.BuildInfo, bool)) string {
	if stamped != "" {
		return stamped
	}
	info, ok := recorded()
	if !ok {
		return "unknown"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision != "" {
		return revision + dirty
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "unknown"
}
