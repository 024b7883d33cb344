package mqtttest_test

import (
	"fmt"
	"testing"

	"github.com/foxbridge/foxbridge/mqtt/mqtttest"
)

func BenchmarkRoundTrip(b *testing.B) {
	for _, load := range []struct{ units, callers int }{{1, 1}, {1, 16}, {100, 16}, {100, 64}} {
		name := fmt.Sprintf("units=%d/callers=%d", load.units, load.callers)
		b.Run("embedded/"+name, func(b *testing.B) {
			mqtttest.RoundTrip(b, embedded(b, load.units), load.callers)
		})
		b.Run("mosquitto/"+name, func(b *testing.B) {
			mqtttest.RoundTrip(b, mosquitto(b, findMosquitto(b), load.units), load.callers)
		})
	}
}
