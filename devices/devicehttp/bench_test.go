package devicehttp_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

// BenchmarkLists asks for the lists of a site with 500 devices, beside a handler that
// writes the same bytes. Cold is the first request of a bridge that has just been
// started; warm are those after it.
func BenchmarkLists(b *testing.B) {
	more := make([]devices.NewDevice, 0, 500)
	for i := range 500 - len(devices.DeviceKinds()) {
		kind := []devices.Kind{devices.Socket, devices.Temperature, devices.Heater}[i%3]
		more = append(more, devices.NewDevice{Kind: kind, Label: fmt.Sprint("Thing ", i)})
	}
	for _, path := range []string{"/device", "/device/socket/items", "/device/data/temperature/items", "/device/heater/items"} {
		b.Run("warm"+path, func(b *testing.B) {
			a := full(b, more)
			ask(b, a.Client(), a.at(path))
		})
		b.Run("bytes"+path, func(b *testing.B) {
			a := full(b, more)
			text := fetch(b, a.Client(), a.at(path))
			same := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				_, _ = w.Write(text)
			}))
			defer same.Close()
			ask(b, same.Client(), same.URL)
		})
		b.Run("cold"+path, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				a := full(b, more)
				b.StartTimer()
				fetch(b, a.Client(), a.at(path))
				b.StopTimer()
				a.Close()
				b.StartTimer()
			}
		})
	}
}

// full is a site in which everything was reported.
func full(b *testing.B, more []devices.NewDevice) *api {
	b.Helper()
	a := newAPI(b, true, more...)
	list, err := a.service.Devices(b.Context(), devices.Caller{UserID: a.owner.UserID, Unscoped: true}, devices.Row{Action: devices.ListEverything}, a.site.ID)
	require.NoError(b, err)
	require.Len(b, list, 500)
	for _, d := range list {
		a.things[d.Kind] = d.Device
		switch d.Kind {
		case devices.Temperature:
			a.says(d.Kind, `{"temperature":19.5}`)
		case devices.Heater:
			a.says(d.Kind, `{"mode":"eco","heating":"wired"}`)
		case devices.Socket:
			a.says(d.Kind, `{"on":true}`)
		}
	}
	return a
}

func (a *api) at(path string) string {
	return a.URL + "/v2/site/" + strconv.FormatInt(a.site.ID, 10) + path
}

func ask(b *testing.B, client *http.Client, url string) {
	b.Helper()
	for b.Loop() {
		fetch(b, client, url)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

func fetch(b *testing.B, client *http.Client, url string) []byte {
	b.Helper()
	response, err := client.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		b.Fatalf("%d %v %s", response.StatusCode, err, text)
	}
	return text
}
