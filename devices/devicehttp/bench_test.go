package devicehttp_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicehttp"
	"github.com/foxbridge/foxbridge/devices/devicepgx"
	"github.com/foxbridge/foxbridge/devices/devicesqlite"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
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
	for store, open := range map[string]func(*testing.B, ...devices.NewDevice) *house{"SQLite": onSQLite, "PostgreSQL": onPostgres} {
		b.Run(store, func(b *testing.B) {
			warm := open(b, more...)
			full(b, warm.api)
			server := warm.start(b)
			defer server.Close()
			for _, path := range []string{"/device", "/device/socket/items", "/device/data/temperature/items", "/device/heater/items"} {
				b.Run("bytes"+path, func(b *testing.B) {
					text := fetch(b, server.Client(), server.URL+warm.path(path))
					same := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Content-Type", "application/json; charset=utf-8")
						_, _ = w.Write(text)
					}))
					defer same.Close()
					ask(b, same.Client(), same.URL)
				})
				b.Run("warm"+path, func(b *testing.B) { ask(b, server.Client(), server.URL+warm.path(path)) })
				b.Run("cold"+path, func(b *testing.B) {
					b.StopTimer()
					for range b.N {
						cold := warm.start(b)
						b.StartTimer()
						fetch(b, cold.Client(), cold.URL+warm.path(path))
						b.StopTimer()
						cold.Close()
					}
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
				})
			}
		})
	}
}

// full is a site in which everything was reported.
func full(b *testing.B, a *api) {
	b.Helper()
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
}

// house is a site on a store that bridges open anew.
type house struct {
	*api
	open func(*testing.B) (devices.Store, func() error)
}

func onSQLite(b *testing.B, more ...devices.NewDevice) *house {
	db := migrationstest.SQLite(b)
	var path string
	require.NoError(b, db.Read().QueryRowContext(b.Context(), "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path))
	return &house{
		api: newAPIOn(b, devicesqlite.New(db), func(insert string) (id int64) {
			require.NoError(b, db.Write(b.Context(), "", func(ctx context.Context, tx *sql.Tx) error { return tx.QueryRowContext(ctx, insert).Scan(&id) }))
			return id
		}, true, more...),
		open: func(b *testing.B) (devices.Store, func() error) {
			db, err := groupcommit.OpenSQLite(b.Context(), path, nil)
			require.NoError(b, err)
			return devicesqlite.New(db), db.Close
		},
	}
}

func onPostgres(b *testing.B, more ...devices.NewDevice) *house {
	db := migrationstest.Postgres(b)
	return &house{
		api: newAPIOn(b, devicepgx.New(db), func(insert string) (id int64) {
			require.NoError(b, db.Write(b.Context(), "", func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, insert).Scan(&id) }))
			return id
		}, true, more...),
		open: func(b *testing.B) (devices.Store, func() error) {
			db, err := groupcommit.OpenPostgres(b.Context(), db.Read().Config().ConnString(), nil)
			require.NoError(b, err)
			return devicepgx.New(db), db.Close
		},
	}
}

// bridge serves the API alone, from a store of its own.
type bridge struct {
	*httptest.Server
	close func() error
}

func (h *house) start(b *testing.B) *bridge {
	b.Helper()
	store, closeStore := h.open(b)
	log := slog.New(slog.DiscardHandler)
	routes := mux.NewRouter()
	devicehttp.New(devicehttp.Options{
		Service: devices.New(devices.Options{Store: store, Now: time.Now, Logger: log, Wait: time.Second, LaneDepth: 4}), Now: time.Now, Logger: log,
		Caller: func(*http.Request) (devices.Caller, error) {
			return devices.Caller{UserID: h.owner.UserID, UserName: "Alice", ClientID: "app", ClientName: "Script", Unscoped: true}, nil
		},
	}).Register(routes)
	return &bridge{httptest.NewServer(routes), closeStore}
}

// Close stops the bridge.
func (s *bridge) Close() {
	s.Server.Close()
	_ = s.close() // nothing was written
}

func (a *api) path(path string) string {
	return "/v2/site/" + strconv.FormatInt(a.site.ID, 10) + path
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
