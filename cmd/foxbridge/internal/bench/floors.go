package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/foxbridge/foxbridge/internal/groupcommit"
)

// Paths of the floors below Floors.URL.
const (
	PathBytes    = "/bytes"    // answers the bytes of the request
	PathRow      = "/row"      // makes one row durable, then answers
	PathExchange = "/exchange" // sends the path's last part to a unit by MQTT, and answers what it says
)

// Floors is an HTTP server on loopback that does the least. Stop it always.
type Floors struct {
	URL string

	stops []func(context.Context) error
}

// StartFloors starts them: rows go into a SQLite file in dir or, with a connection
// string, into a table of their own in that PostgreSQL database, which Stop drops.
func StartFloors(ctx context.Context, dir, postgres string) (_ *Floors, err error) {
	f := &Floors{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Stop(context.WithoutCancel(ctx)))
		}
	}()
	insert, err := f.rows(ctx, dir, postgres)
	if err != nil {
		return nil, err
	}
	exchange, err := f.exchange(ctx)
	if err != nil {
		return nil, err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("POST "+PathBytes, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	routes.HandleFunc("POST "+PathRow, func(w http.ResponseWriter, r *http.Request) {
		answer(w, []byte("{}"), insert(r.Context()))
	})
	routes.HandleFunc("POST "+PathExchange+"/{what}", func(w http.ResponseWriter, r *http.Request) {
		said, err := exchange.ask(r.Context(), r.PathValue("what"))
		answer(w, said, err)
	})
	return f, f.serve(ctx, routes)
}

// Stop ends what was started, the last first.
func (f *Floors) Stop(ctx context.Context) error {
	var err error
	for i := len(f.stops) - 1; i >= 0; i-- {
		err = errors.Join(err, f.stops[i](ctx))
	}
	return err
}

func (f *Floors) onStop(do func(context.Context) error) { f.stops = append(f.stops, do) }

func (f *Floors) serve(ctx context.Context, h http.Handler) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the floors: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	f.onStop(func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	})
	f.URL = "http://" + listener.Addr().String()
	return nil
}

func answer(w http.ResponseWriter, body []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

const payload = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// rows gives what makes one row durable, together with those of others.
func (f *Floors) rows(ctx context.Context, dir, postgres string) (insert func(context.Context) error, err error) {
	if postgres != "" {
		return f.rowsOfPostgres(ctx, postgres)
	}
	db, err := groupcommit.OpenSQLite(ctx, filepath.Join(dir, "floor.db"), nil)
	if err != nil {
		return nil, err
	}
	f.onStop(func(context.Context) error { return db.Close() })
	exec := func(ctx context.Context, statement string, args ...any) error {
		return db.Write(ctx, "", func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statement, args...)
			return err
		})
	}
	if err := exec(ctx, "CREATE TABLE floor (id integer PRIMARY KEY, payload text NOT NULL)"); err != nil {
		return nil, fmt.Errorf("create the floor's table: %w", err)
	}
	return func(ctx context.Context) error { return exec(ctx, "INSERT INTO floor (payload) VALUES (?)", payload) }, nil
}

func (f *Floors) rowsOfPostgres(ctx context.Context, dsn string) (insert func(context.Context) error, err error) {
	db, err := groupcommit.OpenPostgres(ctx, dsn, nil)
	if err != nil {
		return nil, err
	}
	f.onStop(func(context.Context) error { return db.Close() })
	if _, err := db.Read().Exec(ctx, "CREATE TABLE foxbridge_floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text NOT NULL)"); err != nil {
		return nil, fmt.Errorf("create the floor's table: %w", err)
	}
	f.onStop(func(ctx context.Context) error {
		_, err := db.Read().Exec(ctx, "DROP TABLE foxbridge_floor")
		return err
	})
	return func(ctx context.Context) error {
		batch := &pgx.Batch{}
		batch.Queue("INSERT INTO foxbridge_floor (payload) VALUES ($1)", payload)
		return db.WriteBatch(ctx, "floor", batch)
	}, nil
}

// exchange is a bare bridge: it sends a message to a unit and waits for the answer that
// has its id. Both connect to a broker over TCP with paho and publish at QoS 1.
type exchange struct {
	bridge  paho.Client
	mu      sync.Mutex
	waiting map[string]chan []byte
}

const (
	topicCommand = "floor/cmd/"
	topicAnswer  = "floor/ack/"

	connectWithin = 10 * time.Second
)

func (f *Floors) exchange(ctx context.Context) (*exchange, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the floor's broker: %w", err)
	}
	broker := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	err = errors.Join(broker.AddHook(new(everybody), nil), broker.AddListener(listeners.NewNet("floor", listener)), broker.Serve())
	f.onStop(func(context.Context) error { return broker.Close() })
	if err != nil {
		return nil, fmt.Errorf("start the floor's broker: %w", err)
	}
	url := "tcp://" + listener.Addr().String()
	e := &exchange{waiting: map[string]chan []byte{}}
	if e.bridge, err = f.connect(url, "bridge", topicAnswer+"+", func(_ paho.Client, m paho.Message) { e.take(m) }); err != nil {
		return nil, err
	}
	_, err = f.connect(url, "unit", topicCommand+"+", func(c paho.Client, m paho.Message) {
		c.Publish(topicAnswer+m.Topic()[len(topicCommand):], 1, false, m.Payload())
	})
	return e, err
}

// everybody lets every client in, and do everything.
type everybody struct{ mochi.HookBase }

func (everybody) Provides(what byte) bool {
	return what == mochi.OnConnectAuthenticate || what == mochi.OnACLCheck
}

func (everybody) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (everybody) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func (f *Floors) connect(url, id, topic string, take paho.MessageHandler) (paho.Client, error) {
	o := paho.NewClientOptions().AddBroker(url).SetClientID(id).SetAutoReconnect(false)
	c := paho.NewClient(o)
	if err := done(c.Connect()); err != nil {
		return nil, fmt.Errorf("connect the floor's %s: %w", id, err)
	}
	f.onStop(func(context.Context) error { c.Disconnect(0); return nil })
	if err := done(c.Subscribe(topic, 1, take)); err != nil {
		return nil, fmt.Errorf("subscribe the floor's %s: %w", id, err)
	}
	return c, nil
}

func done(t paho.Token) error {
	if !t.WaitTimeout(connectWithin) {
		return context.DeadlineExceeded
	}
	return t.Error()
}

func (e *exchange) ask(ctx context.Context, what string) ([]byte, error) {
	id := uuid.NewString()
	said := make(chan []byte, 1)
	e.mu.Lock()
	e.waiting[id] = said
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.waiting, id)
		e.mu.Unlock()
	}()
	e.bridge.Publish(topicCommand+id, 1, false, what)
	select {
	case answer := <-said:
		return answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *exchange) take(m paho.Message) {
	e.mu.Lock()
	said := e.waiting[m.Topic()[len(topicAnswer):]]
	e.mu.Unlock()
	select {
	case said <- m.Payload():
	default: // nobody waits any more
	}
}
