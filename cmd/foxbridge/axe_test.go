package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// axeSource is axe-core as npm has it. Without it pages are not checked, which is an
// error if CI is set and is said loudly elsewhere.
func axeSource(t testing.TB) string {
	t.Helper()
	modules, ok := nodeModules(t)
	if !ok {
		fmt.Fprint(os.Stderr, `
*******************************************************************
*  PAGES NOT CHECKED WITH AXE-CORE: it is not installed here.     *
*  Run .ci/install-tools.                                         *
*******************************************************************
`)
		return ""
	}
	source, err := os.ReadFile(filepath.Join(modules, "axe-core", "axe.min.js"))
	require.NoError(t, err)
	return string(source)
}

// violation is what axe-core finds wrong with a page.
type violation struct {
	Rule  string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		Target []any  `json:"target"` // selectors
		HTML   string `json:"html"`
		Advice string `json:"failureSummary"`
	} `json:"nodes"`
}

// String tells the rule, and of each element where it is and what it is.
func (v violation) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s\n", v.Rule, v.Help)
	for _, node := range v.Nodes {
		fmt.Fprintf(&out, "  at %v\n     %s\n     %s\n", node.Target, node.HTML, strings.ReplaceAll(node.Advice, "\n", "\n     "))
	}
	return out.String()
}

// axeRun asks for all that axe-core knows, its best practices and the size of what is
// pressed among it.
const axeRun = `axe.run({resultTypes: ["violations"], rules: {"target-size": {enabled: true}}}).then(found => found.violations)`

// checkAccessible runs axe-core on the page as it is now.
func (c *chrome) checkAccessible(t testing.TB, name string) {
	t.Helper()
	if c.axe == "" {
		return
	}
	if !ask(t, c, chromedp.Evaluate[bool]("'axe' in window")) {
		c.do(t, chromedp.Evaluate[chromedp.Void](c.axe))
	}
	found := ask(t, c, chromedp.Evaluate[[]violation](axeRun, chromedp.EvalAwaitPromise))
	var told strings.Builder
	for _, v := range found {
		fmt.Fprintln(&told, v)
	}
	if len(found) > 0 { // the other pages are worth a look all the same
		t.Errorf("%s: axe-core finds\n%s", name, &told)
	}
}

// A page with faults is told of, with the rule, the place and the element: the checks
// above can fail.
func TestBrowserFindsWhatIsNotAccessible(t *testing.T) {
	t.Parallel()
	c := newChrome(t)
	if c.axe == "" {
		t.Skip("axe-core is not installed")
	}
	c.open(t, "data:text/html,<!DOCTYPE html><html lang=en><title>Faults</title><main><h1>Faults</h1><input id=bare><p style='color:%23aaa;background:%23fff'>Pale</p></main>")
	c.do(t, chromedp.Evaluate[chromedp.Void](c.axe))
	found := ask(t, c, chromedp.Evaluate[[]violation](axeRun, chromedp.EvalAwaitPromise))
	told := make(map[string]string)
	for _, v := range found {
		told[v.Rule] = v.String()
	}
	require.Contains(t, told["label"], "#bare")
	require.Contains(t, told["label"], `<input id="bare">`)
	require.Contains(t, told["color-contrast"], "Pale")
}
