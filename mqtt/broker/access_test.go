package broker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const own, other = "00000000000000aa", "00000000000000bb"

func TestAUnitPublishesOnItsOwnTopicsAlone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"hc/1/" + own + "/ack/one", "hc/1/" + own + "/state/0", "hc/1/" + own + "/state/7", "hc/1/" + own + "/event", "hc/1/" + own + "/link",
	} {
		_, may := mayPublish(own, name)
		require.True(t, may, name)
		_, may = mayPublish(other, name)
		require.False(t, may, name)
	}
	for _, name := range []string{
		"", "#", "hc/1/" + own + "/cmd", "hc/1/" + own, "hc/1/" + own + "/ack", "hc/1/" + own + "/ack/a/b", "hc/1/" + own + "/state/x",
		"hc/1/" + own + "/state/01", "hc/1/" + own + "/event/x", "hc/1/" + own + "/link/", "hc/1/" + own + "/+", "$SYS/x",
	} {
		_, may := mayPublish(own, name)
		require.False(t, may, name)
	}
}

func TestAUnitSubscribesToItsOwnOrdersAlone(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"hc/1/" + own + "/cmd", "hc/1/" + own + "/#", "hc/1/" + own + "/+"} {
		require.True(t, maySubscribe(own, filter), filter)
		require.False(t, maySubscribe(other, filter), filter)
	}
	for _, filter := range []string{
		"", "#", "+", "+/#", "hc/#", "hc/1/#", "hc/1/+", "hc/1/+/cmd", "hc/1/+/#", "+/1/" + own + "/cmd", "hc/+/" + own + "/cmd",
		"hc/1/" + own, "hc/1/" + own + "/", "hc/1/" + own + "/cmd/", "hc/1/" + own + "/cmd/#", "hc/1/" + own + "/state/#",
		"hc/1/" + own + "/ack/+", "hc/1/" + own + "/cmd#", "hc/1/" + own + "/event", "hc/1/" + own + "/link",
		"$share/g/hc/1/" + own + "/cmd", "$SYS/#", "/hc/1/" + own + "/cmd",
	} {
		require.False(t, maySubscribe(own, filter), filter)
	}
	require.False(t, maySubscribe("", "hc/1//cmd"), "nobody")
}

// MQTT 3.1.1 sections 4.7.1 and 4.7.3.
func TestMatching(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filter, name string
		match        bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b/c", false},
		{"a/b", "a", false},
		{"a/b", "a/B", false},
		{"a/+", "a/b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"a/+", "a/b/c", false},
		{"+/+", "/a", true},
		{"/+", "/a", true},
		{"+", "/a", false},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a/b/d", false},
		{"a/#", "a/b/c", true},
		{"a/#", "a/", true},
		{"a/#", "a", true},
		{"a/#", "b", false},
		{"#", "a/b", true},
		{"a/+/#", "a/b", true},
		{"a/+/#", "a", false},
	} {
		require.Equal(t, c.match, matches(c.filter, c.name), "%s against %s", c.name, c.filter)
	}
}

func TestNoFilterOfAUnitReachesAnother(t *testing.T) {
	t.Parallel()
	level := rapid.SampledFrom([]string{"hc", "1", "2", own, other, "cmd", "ack", "one", "state", "7", "event", "link", "", "+", "#", "$share", "$SYS"})
	path := rapid.Map(rapid.SliceOfN(level, 1, 6), func(levels []string) string { return strings.Join(levels, "/") })
	rapid.Check(t, func(t *rapid.T) {
		filter, name := path.Draw(t, "filter"), path.Draw(t, "name")
		if maySubscribe(own, filter) && matches(filter, name) && name != "hc/1/"+own && !strings.HasPrefix(name, "hc/1/"+own+"/") {
			t.Fatalf("filter %s reaches %s", filter, name)
		}
		if topic, may := mayPublish(own, name); may && topic.Unit != own {
			t.Fatalf("publish on %s", name)
		}
	})
}
