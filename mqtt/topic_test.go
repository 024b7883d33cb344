package mqtt

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const unitID = "00a1b2c3d4e5f607"

func TestTopicHasOneName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Topic{
		"hc/1/00a1b2c3d4e5f607/cmd":                            {Unit: unitID, Leaf: LeafCommand},
		"hc/1/00a1b2c3d4e5f607/event":                          {Unit: unitID, Leaf: LeafEvent},
		"hc/1/00a1b2c3d4e5f607/link":                           {Unit: unitID, Leaf: LeafLink},
		"hc/1/00a1b2c3d4e5f607/ack/bridge-7":                   {Unit: unitID, Leaf: LeafAck, Bridge: "bridge-7"},
		"hc/1/00a1b2c3d4e5f607/ack/" + strings.Repeat("z", 32): {Unit: unitID, Leaf: LeafAck, Bridge: strings.Repeat("z", 32)},
		"hc/1/00a1b2c3d4e5f607/state/0":                        {Unit: unitID, Leaf: LeafState},
		"hc/1/00a1b2c3d4e5f607/state/42":                       {Unit: unitID, Leaf: LeafState, Device: 42},
		"hc/1/00a1b2c3d4e5f607/state/9223372036854775807":      {Unit: unitID, Leaf: LeafState, Device: 1<<63 - 1},
	} {
		topic, err := ParseTopic(name)
		require.NoError(t, err, name)
		require.Equal(t, want, topic)
		require.Equal(t, name, topic.String())
	}
}

func TestWhatIsNoTopic(t *testing.T) {
	t.Parallel()
	const u = "hc/1/" + unitID
	for _, name := range []string{
		"", "hc", "hc/1", "hc/1/", u, u + "/", "/" + u + "/cmd", "hc/2/" + unitID + "/cmd", "HC/1/" + unitID + "/cmd",
		u + "/cmd/", u + "/cmd/x", u + "/event/1", u + "/link/", u + "/ack", u + "/ack/", u + "/ack/a/b", u + "/ack/a/",
		u + "/ack/Bridge", u + "/ack/a_b", u + "/ack/" + strings.Repeat("a", 33), u + "/ack/+", u + "/#", u + "/+",
		u + "/state", u + "/state/", u + "/state/-1", u + "/state/+1", u + "/state/01", u + "/state/1/", u + "/state/1/2",
		u + "/state/9223372036854775808", u + "/state/0x1", u + "/state/ 1", u + "/state/1\x00", u + "/CMD", u + "/other",
		"hc/1/00A1B2C3D4E5F607/cmd", "hc/1/00a1b2c3d4e5f60/cmd", "hc/1/00a1b2c3d4e5f6070/cmd", "hc/1/+/cmd", "hc/1//cmd",
		"hc/1/00a1b2c3d4e5f60g/cmd", "$share/g/" + u + "/cmd",
	} {
		_, err := ParseTopic(name)
		require.Error(t, err, "%q", name)
		require.Equal(t, errTopic, err, "nothing of the name")
	}
}

func FuzzParseTopic(f *testing.F) {
	for _, name := range []string{
		"hc/1/00a1b2c3d4e5f607/cmd", "hc/1/00a1b2c3d4e5f607/ack/one", "hc/1/00a1b2c3d4e5f607/state/7", "hc/1/00a1b2c3d4e5f607/link",
		"hc/1/00a1b2c3d4e5f607/event", "hc/1/00a1b2c3d4e5f607/state/007", "hc/1/#", "",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		topic, err := ParseTopic(name)
		if err != nil {
			require.Equal(t, Topic{}, topic)
			return
		}
		require.Equal(t, name, topic.String(), "a topic has one name")
		require.True(t, ValidUnit(topic.Unit))
		require.Equal(t, topic.Leaf == LeafAck, ValidBridge(topic.Bridge))
		require.GreaterOrEqual(t, topic.Device, int64(0))
		require.NotContains(t, name, "+")
		require.NotContains(t, name, "#")
	})
}
