package policy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/policy"
	"github.com/foxbridge/foxbridge/oauth"
)

const someone = "4f0c1b7a9d2e4c6f8a1b3c5d7e9f0a2b"

func TestPolicyFile(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse([]byte(`# ours
kinds:
  personal: {hour: 10, day: 0}
overrides:
  ` + someone + `:
    hour: 60
    day: 1000000
`))
	require.NoError(t, err)
	want := policy.Default()
	want.Kinds["personal"] = oauth.Limits{Hour: 10}
	want.Overrides[someone] = oauth.Limits{Hour: 60, Day: 1_000_000}
	require.Empty(t, cmp.Diff(want, p))
}

func TestEmptyPolicyFileIsTheDefault(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n", "{}\n"} {
		p, err := policy.Parse([]byte(text))
		require.NoError(t, err, "%q", text)
		require.Empty(t, cmp.Diff(policy.Default(), p), "%q", text)
	}
}

func TestPolicyFileRefusesNonsenseByName(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	var many strings.Builder
	many.WriteString("overrides:\n")
	for n := range 10_001 {
		fmt.Fprintf(&many, "  %032x: {hour: 1, day: 1}\n", n)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"not YAML":               {"\t{", "policy: "},
		"not a mapping":          {"- a", "line 1: policy: is not a plain mapping"},
		"a word":                 {"hello", "line 1: policy: is not a plain mapping"},
		"two documents":          {"kinds: {}\n---\nkinds: {}", "policy: more than one document"},
		"unknown field":          {"shade: true", "line 1: shade: is unknown: there are kinds and overrides"},
		"field twice":            {"kinds: {}\nkinds: {}", "line 2: kinds: is given twice"},
		"nothing":                {"kinds:", "line 1: kinds: is not a plain mapping"},
		"kinds as a list":        {"kinds: [personal]", "line 1: kinds: is not a plain mapping"},
		"unknown kind":           {"kinds:\n  private: {hour: 1, day: 1}", "line 2: kinds.private: is no kind of application"},
		"kind without limits":    {"kinds:\n  personal:", "line 2: kinds.personal: is not a plain mapping"},
		"kind twice":             {"kinds:\n  personal: {hour: 1, day: 1}\n  personal: {hour: 1, day: 1}", "line 3: kinds.personal: is given twice"},
		"unknown window":         {"kinds:\n  personal: {hour: 1, day: 1, week: 1}", "line 2: kinds.personal.week: is unknown: there are hour and day"},
		"no hour":                {"kinds:\n  personal: {day: 1}", "line 2: kinds.personal.hour: is missing"},
		"no day":                 {"kinds:\n  personal: {hour: 1}", "line 2: kinds.personal.day: is missing"},
		"window twice":           {"kinds:\n  personal: {hour: 1, hour: 1, day: 1}", "line 2: kinds.personal.hour: is given twice"},
		"negative limit":         {"kinds:\n  personal: {hour: -1, day: 1}", "line 2: kinds.personal.hour: is not a whole number from 0 to 1000000"},
		"too large a limit":      {"kinds:\n  personal: {hour: 1, day: 1000001}", "line 2: kinds.personal.day: is not a whole number"},
		"limit beyond an int":    {"kinds:\n  personal: {hour: 1, day: 99999999999999999999999}", "line 2: kinds.personal.day: is not a whole number"},
		"fraction":               {"kinds:\n  personal: {hour: 1.5, day: 1}", "line 2: kinds.personal.hour: is not a whole number"},
		"number in quotes":       {"kinds:\n  personal: {hour: '1', day: 1}", "line 2: kinds.personal.hour: is not a whole number"},
		"no number":              {"kinds:\n  personal: {hour: , day: 1}", "line 2: kinds.personal.hour: is not a whole number"},
		"a list for a number":    {"kinds:\n  personal: {hour: [1], day: 1}", "line 2: kinds.personal.hour: is not a whole number"},
		"a day below its hour":   {"kinds:\n  personal: {hour: 20, day: 10}", "line 2: kinds.personal.day: 10 is less than the 20 of an hour"},
		"override of a name":     {"overrides:\n  Alarm script: {hour: 1, day: 1}", "line 2: overrides.Alarm script: is no client_id"},
		"override in capitals":   {"overrides:\n  " + strings.ToUpper(someone) + ": {hour: 1, day: 1}", "is no client_id"},
		"override without limit": {"overrides:\n  " + someone + ": 5", "line 2: overrides." + someone + ": is not a plain mapping"},
		"too many overrides":     {many.String(), "overrides: has 10001 entries, and 10000 is the most"},
		"an anchor":              {"kinds: &k\n  personal: {hour: 1, day: 1}", "kinds: is not a plain mapping"},
		"an alias":               {"kinds: {personal: &a {hour: 1, day: 1}, commercial: *a}", "kinds.personal: is not a plain mapping"},
		"a merge":                {"kinds:\n  <<: {personal: {hour: 1, day: 1}}", "is not a plain name"},
		"a mapping as a name":    {"? {a: b}\n: 1", "is not a plain name"},
		"a control character":    {"\"sha\\ndow\": true", `line 1: sha\ndow: is unknown`},
		"deeply nested":          {"kinds: " + deep, "kinds: is not a plain mapping"},
		"too large":              {strings.Repeat("#", 1<<20+1), "policy: larger than 1048576 bytes"},
	} {
		_, err := policy.Parse([]byte(tc.text))
		require.ErrorContains(t, err, tc.want, name)
		require.NotContains(t, err.Error(), "\n", name)
		require.Less(t, len(err.Error()), 400, name)
	}
}

// Whatever is taken keeps the promises that judging builds on.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "kinds: {personal: {hour: 20, day: 100}}", "overrides:\n  " + someone + ": {hour: 0, day: 0}",
		"kinds: {personal: {hour: -1, day: 0x10}}", "? [a]\n: *b", "a: &a [*a]", "---\n---", "kinds: !!bool yes", "\xff\xfe",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := policy.Parse(text)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.Len(t, p.Kinds, 2)
		for _, l := range slices.Concat(slices.Collect(maps.Values(p.Kinds)), slices.Collect(maps.Values(p.Overrides))) {
			require.True(t, l.Hour >= 0 && l.Day >= 0 && l.Hour <= 1_000_000 && l.Day <= 1_000_000, "%+v", l)
			require.True(t, l.Day == 0 || l.Day >= l.Hour, "%+v", l)
		}
	})
}
