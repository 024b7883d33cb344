package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
	unitlib "github.com/foxbridge/foxbridge/mqtt/unit"
)

// channel is one of docs/asyncapi.yaml.
type channel struct {
	address  *regexp.Regexp
	retained bool                          // as its operation says
	messages map[string]*jsonschema.Schema // of their payloads
	examples map[string][]any
}

// accepts names the messages of the channel that a payload can be.
func (c channel) accepts(payload any) []string {
	var names []string
	for name, schema := range c.messages {
		if schema.Validate(payload) == nil {
			names = append(names, name)
		}
	}
	return names
}

// asyncAPI reads the document: its channels by name.
func asyncAPI(t testing.TB) map[string]channel {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "asyncapi.yaml"))
	require.NoError(t, err)
	var tree any
	require.NoError(t, yaml.Unmarshal(text, &tree))
	text, err = json.Marshal(tree)
	require.NoError(t, err)
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	require.NoError(t, compiler.AddResource("asyncapi.json", resource))

	type reference struct {
		Ref string `json:"$ref"`
	}
	var document struct {
		Channels map[string]struct {
			Address  string
			Messages map[string]reference
		}
		Operations map[string]struct {
			Channel  reference
			Bindings struct{ MQTT struct{ Retain bool } }
		}
		Components struct {
			Messages map[string]struct {
				Examples []struct{ Payload json.RawMessage }
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &document))
	channels := map[string]channel{}
	for name, c := range document.Channels {
		pattern := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(c.Address, "[^/]+")
		out := channel{regexp.MustCompile("^" + pattern + "$"), false, map[string]*jsonschema.Schema{}, map[string][]any{}}
		for message, at := range c.Messages {
			out.messages[message], err = compiler.Compile("asyncapi.json" + at.Ref + "/payload")
			require.NoError(t, err)
			component := at.Ref[strings.LastIndex(at.Ref, "/")+1:]
			for _, example := range document.Components.Messages[component].Examples {
				out.examples[message] = append(out.examples[message], decoded(t, example.Payload))
			}
		}
		operations := 0
		for _, operation := range document.Operations {
			if operation.Channel.Ref == "#/channels/"+name {
				out.retained = operation.Bindings.MQTT.Retain
				operations++
			}
		}
		require.Equal(t, 1, operations, name)
		channels[name] = out
	}
	return channels
}

func decoded(t testing.TB, text []byte) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	return value
}

// understands reports whether a bridge, or for a command a unit, takes a payload.
func understands(channel string, payload any) bool {
	text, err := json.Marshal(payload)
	if err != nil {
		return false
	}
	switch channel {
	case "command":
		_, err = mqtt.DecodeCommand(text)
	case "answer":
		_, err = mqtt.DecodeAck(text)
	case "state":
		_, err = mqtt.DecodeState(text)
	case "event":
		_, err = mqtt.DecodeEvent(text)
	case "link":
		_, err = mqtt.DecodeLink(text)
	default:
		err = fmt.Errorf("no channel %q", channel)
	}
	return err == nil
}

// message is something that was published, or is to be as a last will.
type message struct {
	topic    string
	qos      byte
	retained bool
	payload  []byte
}

// wiretap writes down what is published over the connections of a unit, both ways.
type wiretap struct {
	reading sync.WaitGroup
	mu      sync.Mutex
	heard   []message
}

func (w *wiretap) hear(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, m)
}

// tap listens to a connection until it is closed.
func (w *wiretap) tap(c net.Conn) net.Conn {
	tapped := &tappedConn{Conn: c}
	for _, side := range []**io.PipeWriter{&tapped.in, &tapped.out} {
		reader, writer := io.Pipe()
		*side = writer
		w.reading.Go(func() {
			defer reader.Close()
			for {
				packet, err := packets.ReadPacket(reader)
				if err != nil {
					return
				}
				switch p := packet.(type) {
				case *packets.ConnectPacket:
					w.hear(message{p.WillTopic, p.WillQos, p.WillRetain, p.WillMessage})
				case *packets.PublishPacket:
					w.hear(message{p.TopicName, p.Qos, p.Retain, p.Payload})
				}
			}
		})
	}
	return tapped
}

// tappedConn copies what is read and written. A copy that nobody reads any more is no
// error of the connection.
type tappedConn struct {
	net.Conn
	in, out *io.PipeWriter
}

func (c *tappedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	_, _ = c.in.Write(b[:n])
	return n, err
}

func (c *tappedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	_, _ = c.out.Write(b[:n])
	return n, err
}

func (c *tappedConn) Close() error {
	_, _ = c.in.Close(), c.out.Close()
	return c.Conn.Close()
}

// traffic is all that a bridge and a simulated home say to each other while every
// operation of the catalogue is asked for, a device refuses, somebody breaks in, and the
// home goes.
func traffic(t *testing.T) []message {
	t.Helper()
	data := t.TempDir()
	var things []string
	for _, kind := range devices.DeviceKinds() {
		things = append(things, string(kind)+":"+string(kind))
	}
	e := newEstate(t, []string{"--data-dir", data}, data, things...)
	bridge := e.serve(t)
	token := e.token(t, bridge)

	dial, err := mqtt.Dialer(nil, "tcp://"+bridge.MQTT)
	require.NoError(t, err)
	kinds, device := map[int64]devices.Kind{}, map[devices.Kind]int64{}
	for _, d := range e.box.Devices {
		kinds[d.DeviceID], device[d.Kind] = d.Kind, d.DeviceID
	}
	tap := &wiretap{}
	home, err := unitlib.NewHome(unitlib.Config{
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return tap.tap(c), nil
		},
		Unit: e.box.UnitID, Password: e.box.Password, Devices: kinds, Firmware: firmware, Logger: slog.New(slog.DiscardHandler),
	}, unitlib.HomeOptions{Travel: 100 * time.Millisecond, ExitDelay: 10 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, home.Start(t.Context()))
	bridge.eventually(t, "aware of the home", func() bool {
		status, _ := authorized(t, bridge, http.MethodGet, e.path("/security"), token)
		return status == http.StatusOK
	})

	asked := 0
	ask := func(row devices.Row, wanted int) {
		t.Helper()
		path := strings.NewReplacer("{site}", strconv.FormatInt(e.home.SiteID, 10), "{device}", strconv.FormatInt(device[row.Kind], 10)).Replace(row.Path)
		status, body := authorized(t, bridge, http.MethodPost, "/v2"+path, token)
		require.Equal(t, wanted, status, "%s: %s", path, body)
		asked++
	}
	for _, row := range devices.Catalogue() {
		if row.Action == devices.Operate {
			ask(row, http.StatusOK)
		}
	}
	off, _ := devices.OperationOf(devices.Socket, "off")
	home.Refuse(device[devices.Socket], "The fuse is out")
	ask(off, http.StatusConflict)
	armed, _ := devices.OperationOf(devices.Security, "armed")
	ask(armed, http.StatusOK)
	bridge.eventually(t, "broken into", home.TriggerIntrusion)
	bridge.eventually(t, "told of it", func() bool {
		_, body := authorized(t, bridge, http.MethodGet, e.path("/history?type=alarm"), token)
		return strings.Contains(body, "the siren sounds")
	})
	require.NoError(t, stopHome(t.Context(), home))
	tap.reading.Wait()

	commands := 0
	for _, m := range tap.heard {
		if strings.HasSuffix(m.topic, "/cmd") {
			commands++
		}
	}
	require.Equal(t, asked, commands)
	return tap.heard
}

// All that goes over the wire is as docs/asyncapi.yaml describes it, and all that it
// describes goes over the wire. Bridge and unit need the very members that it requires.
func TestAsyncAPIDescribesTheTraffic(t *testing.T) {
	t.Parallel()
	channels := asyncAPI(t)
	said := map[string]int{}
	outcomes := map[string]bool{}
	for _, m := range traffic(t) {
		var name string
		for candidate, c := range channels {
			if c.address.MatchString(m.topic) {
				require.Empty(t, name, "%s is on two channels", m.topic)
				name = candidate
			}
		}
		require.NotEmpty(t, name, "%s is not described", m.topic)
		c := channels[name]
		payload := decoded(t, m.payload)
		require.Equal(t, byte(1), m.qos, m.topic)
		require.Equal(t, c.retained, m.retained, m.topic)
		is := c.accepts(payload)
		require.Len(t, is, 1, "%s: %s", m.topic, m.payload)
		said[is[0]]++
		if outcome, ok := payload.(map[string]any)["outcome"].(string); ok {
			outcomes[outcome] = true
		}
		agree(t, name, c, payload)
	}
	for _, c := range channels {
		for message := range c.messages {
			require.Positive(t, said[message], "nobody said %s", message)
		}
	}
	require.Equal(t, map[string]bool{"done": true, "refused": true}, outcomes)
	t.Logf("messages: %v", said)
}

// agree checks that a payload with a member missing, or of another type, is refused by
// the schema if and only if it is refused by who gets it.
func agree(t testing.TB, name string, c channel, payload any) {
	t.Helper()
	whole := payload.(map[string]any)
	for member := range whole {
		without, wrong := maps.Clone(whole), maps.Clone(whole)
		delete(without, member)
		wrong[member] = []any{}
		require.Equal(t, understands(name, without), len(c.accepts(without)) > 0, "%s without %s", name, member)
		require.Equal(t, understands(name, wrong), len(c.accepts(wrong)) > 0, "%s with a list as %s", name, member)
	}
	more := maps.Clone(whole)
	more["of a later version"] = true
	require.True(t, understands(name, more))
	require.NotEmpty(t, c.accepts(more), "%s with a member more", name)
}

// Each message has an example, which is one.
func TestAsyncAPIExamplesAreRight(t *testing.T) {
	t.Parallel()
	for name, c := range asyncAPI(t) {
		for message := range c.messages {
			require.NotEmpty(t, c.examples[message], message)
			for _, example := range c.examples[message] {
				require.Equal(t, []string{message}, c.accepts(example))
				require.True(t, understands(name, example), "%v", example)
				agree(t, name, c, example)
			}
		}
	}
}

// The AsyncAPI project's own parser has nothing to say against the document.
func TestAsyncAPIParser(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "asyncapi.yaml"))
	require.NoError(t, err)
	node(t, "asyncapi.mjs", map[string]string{"document": string(text)}, nil)
}
