package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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
	c.checkAccessible(t, "api-documentation-authorization")
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
	// What else is open has a form, its fields, and a list of words to choose from.
	for _, other := range []string{"#operations-Tokens-token", "#operations-History-siteHistory"} {
		c.click(t, other+" .opblock-summary-control")
		c.click(t, other+" .try-out__btn")
	}
	c.foreign = "#try"
	c.lookAround(t, "api-documentation-tried", tried+" .curl-command")

	urls := asked.all()
	require.True(t, slices.ContainsFunc(urls, func(u string) bool { return strings.HasSuffix(u, "/socket/on") }), "%v", urls)
	for _, u := range urls {
		at, err := url.Parse(u)
		require.NoError(t, err)
		require.True(t, at.Scheme == "data" || at.Host == bridge.HTTP, "%s was asked for", u)
	}
}

// linters accept or refuse the OpenAPI document in a file.
func linters() map[string][]string {
	return map[string][]string{
		// Two of its rules are not for this API: what the vendor described and is not there yet
		// never succeeds, and what everybody may read is refused to nobody.
		"Redocly": {
			"node_modules/@redocly/cli/bin/cli.js", "lint", "openapi.json", "--extends", "recommended-strict",
			"--skip-rule", "operation-2xx-response", "--skip-rule", "operation-4xx-response",
		},
		"the OpenAPI Initiative's JSON Schema": {"openapi-schema.mjs"},
	}
}

// The document as the program serves it is good in the eyes of others, and a worse one is not.
func TestLintersAcceptTheOpenAPIDocument(t *testing.T) {
	t.Parallel()
	modules, ok := nodeModules(t)
	if !ok {
		t.Skip("the packages of .ci/npm are not installed")
	}
	bridge := serveProcess(t, t.TempDir())
	status, text := get(t, "http://"+bridge.HTTP+"/openapi.json")
	require.Equal(t, http.StatusOK, status)
	var worse map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &worse))
	delete(worse["paths"].(map[string]any)["/v2/limits"].(map[string]any)["get"].(map[string]any), "responses")
	worse["paths"].(map[string]any)["/v2/limits"].(map[string]any)["get"].(map[string]any)["operationId"] = 7
	bad, err := json.Marshal(worse)
	require.NoError(t, err)

	dir := t.TempDir()
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "node"))))
	for name, lint := range linters() {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.json"), []byte(text), 0o600))
		said, err := runNode(t, dir, lint)
		require.NoError(t, err, "%s: %s", name, said)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.json"), bad, 0o600))
		said, err = runNode(t, dir, lint)
		require.Error(t, err, "%s: %s", name, said)
		require.Contains(t, said, "operationId", name)
	}
}

// runNode runs a script to its end. It is to do without a network.
func runNode(t testing.TB, dir string, script []string) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), nodeLimit)
	defer cancel()
	c := exec.CommandContext(ctx, "node", script...)
	c.Dir = dir
	c.Env = []string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "NO_COLOR=1", "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true",
		"HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1",
	}
	out, err := c.CombinedOutput()
	return string(out), err
}
