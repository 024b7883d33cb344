package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// chrome is a person at a real browser.
type chrome struct {
	ctx     context.Context
	console *transcript // errors that pages gave, such as what their policy forbids
	shots   string      // directory for screenshots; empty: none are kept
	axe     string      // source of axe-core; empty where it is not installed
	foreign string      // css of what is on the page and not made here: its fields may be named without a label; empty: nothing is
}

// screenshotsVariable names a directory to which the tests write a picture of each page
// they see.
const screenshotsVariable = "TEST_FOXBRIDGE_SCREENSHOTS"

// chromeLimit bounds one step: the machine may be busy, but a page that never comes
// must not hold the tests up.
const chromeLimit = time.Minute

// chromium finds the browser. Without one the test fails if CI is set, and is left out
// elsewhere, which is said loudly.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	require.Empty(t, os.Getenv("CI"), "install chromium: the pages are tested in a real browser")
	fmt.Fprint(os.Stderr, `
*******************************************************************
*  NOT TESTED IN A BROWSER: Chromium is not installed here.       *
*  On Debian: apt-get install chromium                            *
*******************************************************************
`)
	t.Skip("chromium is not installed")
	return ""
}

// newChrome starts a browser, with more flags if there are any.
func newChrome(t testing.TB, more ...chromedp.ExecAllocatorOption) *chrome {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)),
		chromedp.NoSandbox, // it sees our own pages only, and may run as root in a container
		chromedp.Flag("lang", "en-US"), chromedp.Flag("disable-gpu", true))
	options = append(options, newProxy(t).forChromium()...)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(cancel)
	c := &chrome{console: &transcript{}, shots: os.Getenv(screenshotsVariable), axe: axeSource(t)}
	var closeTab context.CancelFunc
	c.ctx, closeTab = chromedp.NewContext(allocator)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(c.ctx, chromeLimit)
		defer cancel()
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("close the browser: %v", err)
		}
		closeTab()
	})
	require.NoError(t, chromedp.Do(c.ctx), "start %s", chromium(t))
	messages := chromedp.Console(c.ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			// That a page itself was refused is what some tests are after.
			refused := m.Source == "network" && isPage(m.URL)
			if (m.Type == "error" || m.IsException()) && !refused {
				fmt.Fprintln(c.console, m.Text, m.URL)
			}
		}
	}()
	return c
}

// isPage reports whether an address is of a page, not of something on it.
func isPage(address string) bool {
	u, err := url.Parse(address)
	return err == nil && path.Ext(u.Path) == ""
}

// do carries out steps on the page.
func (c *chrome) do(t testing.TB, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, chromeLimit)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, steps...), "at %s", c.at(t))
}

// ask reads something of the page.
func ask[T any](t testing.TB, c *chrome, question chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, chromeLimit)
	defer cancel()
	answer, err := chromedp.Run(ctx, question)
	require.NoError(t, err)
	return answer
}

func (c *chrome) at(t testing.TB) string {
	t.Helper()
	return ask(t, c, chromedp.Location())
}

func (c *chrome) text(t testing.TB) string {
	t.Helper()
	return strings.Join(strings.Fields(ask(t, c, chromedp.Evaluate[string]("document.body.innerText"))), " ")
}

// read gives the text of one thing on the page.
func (c *chrome) read(t testing.TB, css string) string {
	t.Helper()
	return ask(t, c, chromedp.Text(chromedp.CSS(css)))
}

func (c *chrome) open(t testing.TB, address string) {
	t.Helper()
	c.load(t, chromedp.Navigate(address))
}

// press clicks on what leads to another page, and returns when that is there.
func (c *chrome) press(t testing.TB, css string) {
	t.Helper()
	c.load(t, chromedp.Click(chromedp.CSS(css)))
}

func (c *chrome) load(t testing.TB, step chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, chromeLimit)
	defer cancel()
	_, err := chromedp.RunResponse(ctx, step)
	require.NoError(t, err, "at %s: %s", c.at(t), c.console)
}

// tick clicks on boxes of a form.
func (c *chrome) tick(t testing.TB, name string, values ...string) {
	t.Helper()
	for _, value := range values {
		c.do(t, chromedp.Click(chromedp.CSS(fmt.Sprintf("input[name=%q][value=%q]", name, value))))
	}
}

// enter types into a field, in place of what is there.
func (c *chrome) enter(t testing.TB, name, value string) {
	t.Helper()
	c.enterInto(t, fmt.Sprintf("[name=%q]", name), value)
}

// enterInto is enter for a page of several forms.
func (c *chrome) enterInto(t testing.TB, field, value string) {
	t.Helper()
	emptied := chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).value = ''", field))
	c.do(t, emptied, chromedp.SendKeys(chromedp.CSS(field), value))
}

// size is a screen on which every page must be at home.
type size struct {
	name          string
	width, height int64
	options       []chromedp.EmulateViewportOption
}

func sizes() []size {
	return []size{
		{"phone", 360, 740, []chromedp.EmulateViewportOption{chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait, chromedp.EmulateScale(2)}},
		{"desktop", 1280, 800, nil},
	}
}

// lookAround is look at a page with secrets on it, which are not for a picture.
func (c *chrome) lookAround(t testing.TB, name string, secrets ...string) {
	t.Helper()
	for _, css := range secrets {
		c.do(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
			"document.querySelector(%q).textContent = document.querySelector(%q).textContent.replace(/[0-9a-f]{32,}/g, m => '0'.repeat(m.length))", css, css)))
	}
	c.look(t, name)
}

// look checks what must hold of every page, on a phone and at a desk, by day and by
// night, and keeps a picture of each if that is asked for. Every page that people see
// is to be looked at once, in each state that looks different.
func (c *chrome) look(t testing.TB, name string) {
	t.Helper()
	for _, s := range sizes() {
		c.do(t, chromedp.EmulateViewport(s.width, s.height, s.options...))
		for _, scheme := range []string{"dark", "light"} { // what follows is by day
			c.do(t, emulateScheme(scheme))
			picture := name + "." + s.name
			if scheme != "light" {
				picture += "." + scheme
			}
			c.keep(t, picture)
			width := ask(t, c, chromedp.Evaluate[int64]("document.documentElement.scrollWidth"))
			require.LessOrEqual(t, width, s.width, "%s is wider than a %s", name, s.name)
			c.checkAccessible(t, picture)
		}
	}
	require.NotEmpty(t, ask(t, c, chromedp.Title()), "%s has no title", name)
	require.Equal(t, 1, ask(t, c, chromedp.Evaluate[int]("document.querySelectorAll('h1').length")), "%s has one heading", name)
	require.NotEmpty(t, ask(t, c, chromedp.Evaluate[string]("document.documentElement.lang")), "%s names its language", name)
	unnamed := ask(t, c, chromedp.Evaluate[int](fmt.Sprintf(
		`[...document.querySelectorAll('input:not([type=hidden]),select,textarea')].filter(e => !e.labels.length && !(%[1]q && e.closest(%[1]q) && e.ariaLabel)).length`, c.foreign)))
	require.Zero(t, unnamed, "%s has fields without a label", name)
	require.Empty(t, c.console.String(), "%s: the browser complains", name)
}

// keep writes a picture of the whole page, if pictures are asked for.
func (c *chrome) keep(t testing.TB, name string) {
	t.Helper()
	if c.shots == "" {
		return
	}
	picture := ask(t, c, chromedp.FullScreenshot(100))
	require.NoError(t, os.MkdirAll(c.shots, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(c.shots, name+".png"), picture, 0o644))
}

// emulateScheme lets the page believe that the person prefers light or dark colours.
// Nothing moves, so that no colour is seen on its way to another.
func emulateScheme(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			},
		})
		return err
	})
}
