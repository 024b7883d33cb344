package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// visited collects what a browser asks for.
type visited struct {
	mu   sync.Mutex
	urls []string
}

// watch records every request of the browser from now on.
func (c *chrome) watch(t testing.TB) *visited {
	t.Helper()
	v := &visited{}
	events := chromedp.Events(c.ctx, network.RequestWillBeSent)
	go func() {
		for event, err := range events {
			if err != nil {
				return
			}
			v.mu.Lock()
			v.urls = append(v.urls, event.Request.URL)
			v.mu.Unlock()
		}
	}()
	return v
}

func (v *visited) all() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.urls)
}

// click presses what leads to no other page.
func (c *chrome) click(t testing.TB, css string) {
	t.Helper()
	c.do(t, chromedp.WaitVisible(chromedp.CSS(css)), chromedp.Click(chromedp.CSS(css)))
}

// The API's documentation in a browser: it is read, and a command is tried in the
// reader's own home with the reader's own token. Nothing is asked of any other host.
func TestBrowserAPIDocumentation(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	bridge := e.serve(t)
	token := e.token(t, bridge)
	home := e.live(t, bridge, token)
	foxbridge := "http://" + bridge.HTTP

	asked := c.watch(t)
	c.open(t, foxbridge+"/dev/docs")
	c.do(t, chromedp.WaitVisible(chromedp.CSS("#operations-Sockets-siteDeviceSocketOn")), chromedp.WaitNotPresent(chromedp.CSS("#list")))
	require.Contains(t, c.text(t), "Switch a socket on")
	c.look(t, "api-documentation")

	c.click(t, ".auth-wrapper .authorize")
	c.click(t, ".auth-container input[aria-label='auth-bearer-value']")
	c.do(t, chromedp.SendKeys(chromedp.CSS(".auth-container input[aria-label='auth-bearer-value']"), token))
	c.click(t, ".auth-container:has(input[aria-label='auth-bearer-value']) .authorize")
	c.click(t, ".close-modal")
	const tried = "#operations-Sockets-siteDeviceSocketOn"
	c.click(t, tried+" .opblock-summary-control")
	c.click(t, tried+" .try-out__btn")
	c.do(t, chromedp.SendKeys(chromedp.CSS(tried+" [data-param-name=siteId] input"), fmt.Sprint(e.home.SiteID)),
		chromedp.SendKeys(chromedp.CSS(tried+" [data-param-name=deviceId] input"), fmt.Sprint(e.box.Devices[0].DeviceID)))
	c.click(t, tried+" .execute")
	c.do(t, chromedp.WaitVisible(chromedp.CSS(tried+" .live-responses-table .response-col_status")))
	require.Contains(t, c.read(t, tried+" .live-responses-table"), `"request": "OK"`)
	require.Len(t, home.Executions(), 1, "it happened in the house")
	c.foreign = "#try" // an operation of Swagger UI that is open has fields without a label
	c.lookAround(t, "api-documentation-tried", tried+" .curl-command")

	urls := asked.all()
	require.True(t, slices.ContainsFunc(urls, func(u string) bool { return strings.HasSuffix(u, "/socket/on") }), "%v", urls)
	for _, u := range urls {
		at, err := url.Parse(u)
		require.NoError(t, err)
		require.True(t, at.Scheme == "data" || at.Host == bridge.HTTP, "%s was asked for", u)
	}
}
