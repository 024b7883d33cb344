package devicehttp_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/deployments/migrations/migrationstest"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicepgx"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// wiretap passes a connection to PostgreSQL on, and counts what is executed.
type wiretap struct {
	executed atomic.Int64
}

// listen gives the address at which it passes on to a server.
func (w *wiretap) listen(t *testing.T, network, server string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial(network, server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() {
				defer client.Close()
				_, _ = io.Copy(client, upstream)
			}()
			go func() {
				defer upstream.Close()
				_ = w.pass(upstream, client)
			}()
		}
	}()
	return l.Addr().String()
}

// pass copies what the client says, message by message. The first one has no type.
func (w *wiretap) pass(to io.Writer, from io.Reader) error {
	for head := make([]byte, 4); ; head = make([]byte, 5) {
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}
		if len(head) == 5 && (head[0] == 'E' || head[0] == 'Q') {
			w.executed.Add(1)
		}
		if _, err := to.Write(head); err != nil {
			return err
		}
		length := int64(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
		if _, err := io.CopyN(to, from, length); err != nil {
			return err
		}
	}
}

// tapped gives an API on PostgreSQL that is reached through a wiretap.
func tapped(t *testing.T) (*api, *wiretap) {
	t.Helper()
	dsn := migrationstest.PostgresDSN(t)
	schema, err := migrations.Open(migrations.Postgres, dsn)
	require.NoError(t, err)
	require.NoError(t, migrations.Apply(t.Context(), schema, migrations.Postgres))
	require.NoError(t, schema.Close())

	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	server := config.ConnConfig
	network, address := "tcp", net.JoinHostPort(server.Host, fmt.Sprint(server.Port))
	if strings.HasPrefix(server.Host, "/") {
		network, address = "unix", filepath.Join(server.Host, fmt.Sprintf(".s.PGSQL.%d", server.Port))
	}
	tap := &wiretap{}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(server.User, server.Password), Host: tap.listen(t, network, address), Path: server.Database}
	query := url.Values{"search_path": {server.RuntimeParams["search_path"]}, "sslmode": {"disable"}, "pool_max_conns": {"1"}}
	u.RawQuery = query.Encode()
	db, err := groupcommit.OpenPostgres(t.Context(), u.String(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return newAPIOn(t, devicepgx.New(db), func(insert string) (id int64) {
		require.NoError(t, db.Write(t.Context(), "", func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, insert).Scan(&id)
		}))
		return id
	}, true), tap
}

// A list is one statement, whatever it lists: counted on the way to the database.
func TestEachListIsOneStatement(t *testing.T) {
	a, tap := tapped(t)
	a.group(devices.Socket, a.socket.ID)
	a.group(devices.Shutter, a.shutter.ID)
	a.says(devices.Temperature, `{"temperature":1}`)
	a.says(devices.Light, `{"light":1}`)
	a.says(devices.Security, `{"level":"armed"}`)
	_, err := a.service.AddScenario(t.Context(), devices.Scenario{
		SiteID: a.site.ID, Label: "x", Type: devices.OnDemand, CreatedBy: a.owner.UserID, Steps: []devices.Step{{Device: a.socket, Operation: "off"}},
	})
	require.NoError(t, err)
	lists := 0
	for _, row := range devices.Catalogue() {
		want := int64(1)
		switch row.Action {
		case devices.ReadHistory:
			want = 2 // the day begins in the zone of the site, which is read first
		case devices.ListSites, devices.ReadSecurity, devices.ListDevices, devices.ListEverything, devices.ReadDevice, devices.ReadMeasurements,
			devices.ListGroups, devices.ListScenarios, devices.ListLibrary:
		default:
			continue
		}
		path := a.of(row.Kind, strings.NewReplacer("{site}", "SITE", "{device}", "DEVICE").Replace(row.Path))
		a.do("GET", path) // which prepares it
		before := tap.executed.Load()
		got := a.do("GET", path)
		require.Equal(t, 200, got.StatusCode, "%s: %v", row.Path, got.body)
		require.Equal(t, want, tap.executed.Load()-before, row.Path)
		lists++
	}
	t.Logf("%d lists and readings, each one statement (a history two)", lists)
}
