package web_test

import (
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/internal/web"
)

func samples(o web.Options) web.Options {
	o.Templates = append(o.Templates, os.DirFS("testdata/sample"))
	o.Messages = append(o.Messages, os.DirFS("testdata/messages"))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func newPages(t testing.TB, o web.Options) *web.Pages {
	t.Helper()
	p, err := web.New(samples(o))
	require.NoError(t, err)
	return p
}

type app struct {
	ID, Name, State, Class string
	Tokens                 int
}

type bar struct {
	X, Y, Height int
	Over         bool
}

type sampleData struct {
	Form              *web.Form
	Token, Secret     string
	Sites, Scopes     []web.Option
	Apps              []app
	Bars              []bar
	Made, Used, Never time.Time
}

// sample is the data of the page "sample", with some faults in its form.
func sample() sampleData {
	form := web.NewForm(map[string]string{"home": "htp:/garage", "about": "Closes the garage door at night.\nNothing else.", "site": "2"})
	form.Set("scope", "shutters")
	form.Reject("name", "sample.required")
	form.Reject("home", "sample.bad_url")
	form.Reject("terms", "sample.terms.required")
	d := sampleData{
		Form: form, Token: "TOKEN", Secret: "9d3f6a1b0c5e4f7288a1d2c3b4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8",
		Sites: []web.Option{{Value: "1", Label: "Home <Lyon>"}, {Value: "2", Label: "Cottage"}},
		Scopes: []web.Option{
			{Value: "shutters", Key: "sample.scope.shutters"},
			{Value: "history", Key: "sample.scope.history", HintKey: "sample.scope.history.hint"},
		},
		Apps: []app{
			{ID: "1", Name: "Garage door helper", State: "Active", Class: "success", Tokens: 1},
			{ID: "2", Name: "Old thermostat script", State: "Switched off", Class: "error", Tokens: 1480},
		},
		Made: time.Date(2026, 3, 1, 9, 5, 0, 0, time.UTC), Used: time.Date(2026, 8, 14, 17, 30, 0, 0, time.UTC),
	}
	for i, n := range []int{4, 4, 6, 4, 4, 12, 8, 20, 64, 96, 31, 12, 4, 4} {
		height := n * 110 / 90
		d.Bars = append(d.Bars, bar{X: i*42 + 4, Y: 150 - height, Height: height, Over: n > 90})
	}
	return d
}

func sampleHeader(*http.Request) web.Header {
	return web.Header{
		Person: "camille", SignOut: "/signout", SignOutToken: "SIGNOUT",
		Links: []web.Link{{Path: "/home", Label: "sample.nav.home"}, {Path: "/dev/apps", Label: "sample.nav.apps"}, {Path: "/security", Label: "sample.nav.security"}},
	}
}

func get(target string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// filesystems is one file system with these files; none without files.
func filesystems(files map[string]string) []fs.FS {
	if files == nil {
		return nil
	}
	system := fstest.MapFS{}
	for name, content := range files {
		system[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return []fs.FS{system}
}
