package mqtt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/foxbridge/foxbridge/devices"
)

var at = time.UnixMilli(1723759985123).UTC()

// The words of the protocol, one example of each payload.
const (
	commandExample = `{"id":"0190b6e0-0000-7000-8000-000000000001","device":42,"kind":"shutter","operation":"open","arguments":{},` +
		`"issued":1723759985123,"expires":1723760045123,"reply":"hc/1/00a1b2c3d4e5f607/ack/one"}`
	ackExample = `{"id":"0190b6e0-0000-7000-8000-000000000001","outcome":"refused","reason":"A window is open","time":1723759985123,` +
		`"state":{"sequence":7,"time":1723759985123,"readings":{"position":30}}}`
	stateExample = `{"sequence":7,"time":1723759985123,"readings":{"level":"armed","alarm":"quiet","exit_delay_until":1723760000123}}`
	eventExample = `{"id":"e-1","type":"alarm","device":0,"time":1723759985123,"text":"The siren sounds"}`
	linkExample  = `{"status":"online","session":"0123456789abcdef0123456789abcdef","clock":1723759985123,"firmware":"hc 1.2","catalogue":1}`
	willExample  = `{"status":"offline","session":"0123456789abcdef0123456789abcdef"}`
)

func TestPayloadsAreAsTheProtocolHasThem(t *testing.T) {
	t.Parallel()
	id := "0190b6e0-0000-7000-8000-000000000001"
	bothWays(t, commandExample, DecodeCommand, EncodeCommand, Command{
		Order: devices.Order{
			CommandID: id, DeviceID: 42, Kind: devices.Shutter, Operation: "open", Issued: at, Expires: at.Add(time.Minute),
		},
		Arguments: json.RawMessage("{}"), Reply: "hc/1/00a1b2c3d4e5f607/ack/one",
	})
	bothWays(t, ackExample, DecodeAck, EncodeAck, Ack{Time: at, Ack: devices.Ack{
		CommandID: id, Outcome: devices.Refused, Reason: "A window is open",
		State: &devices.StateReport{Sequence: 7, Time: at, Readings: json.RawMessage(`{"position":30}`)},
	}})
	bothWays(t, stateExample, DecodeState, EncodeState, devices.StateReport{
		Sequence: 7, Time: at, Readings: json.RawMessage(`{"level":"armed","alarm":"quiet","exit_delay_until":1723760000123}`),
	})
	bothWays(t, eventExample, DecodeEvent, EncodeEvent, devices.EventReport{
		ID: "e-1", Type: devices.EventAlarm, Time: at, Text: "The siren sounds",
	})
	bothWays(t, linkExample, DecodeLink, EncodeLink, devices.LinkReport{
		Online: true, Session: "0123456789abcdef0123456789abcdef", Firmware: "hc 1.2", Catalogue: 1, Clock: at,
	})
	bothWays(t, willExample, DecodeLink, EncodeLink, devices.LinkReport{Session: "0123456789abcdef0123456789abcdef"})
}

func bothWays[T any](t *testing.T, wire string, decode func([]byte) (T, error), encode func(T) ([]byte, error), want T) {
	t.Helper()
	got, err := decode([]byte(wire))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))
	payload, err := encode(want)
	require.NoError(t, err)
	require.Equal(t, wire, string(payload))
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	t.Parallel()
	more := `{"new":{"deep":[1,{"x":null}]},"ID":"not the id","Time":-5,` + stateExample[1:]
	want, err := DecodeState([]byte(stateExample))
	require.NoError(t, err)
	got, err := DecodeState([]byte(" \n" + more + "\t"))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))
}

func TestNullIsAsIfAbsent(t *testing.T) {
	t.Parallel()
	ack, err := DecodeAck([]byte(`{"id":"a","outcome":"done","reason":null,"time":1,"state":null}`))
	require.NoError(t, err)
	require.Nil(t, ack.State)
	_, err = DecodeEvent([]byte(`{"id":"a","type":"alarm","device":null,"time":1}`))
	require.Equal(t, "event lacks a member", reasonOf(err), "no device is not the alarm")
}

// state wraps readings in an otherwise good state.
func state(readings string) string { return `{"sequence":1,"time":1,"readings":` + readings + `}` }

func TestWhatNoPayloadMayBe(t *testing.T) {
	t.Parallel()
	for payload, reason := range map[string]string{
		"":                            "payload is not JSON",
		"hello":                       "payload is not JSON",
		"{":                           "payload is not JSON",
		state(`{}`) + "{}":            "payload is not JSON",
		state(`{}`) + "x":             "payload is not JSON",
		"[]":                          "payload is not an object",
		"null":                        "payload is not an object",
		`"a"`:                         "payload is not an object",
		"\xff":                        "payload is not UTF-8",
		state("{\"a\":\"\xc3\x28\"}"): "payload is not UTF-8",
		`{"sequence":1,` + strings.Repeat(" ", PayloadMax) + `"time":1}`: "payload is longer than 16 KiB",

		`{"sequence":1,"sequence":1,"time":1,"readings":{}}`:      "name stands twice in an object",
		`{"sequence":1,"\u0073equence":2,"time":1,"readings":{}}`: "name stands twice in an object",
		state(`{"a":1,"a":2}`):                                    "name stands twice in an object",
		state(`{"a":[{"b":1,"b":1}]}`):                            "name stands twice in an object",
		state(`{"a":"\u0000"}`):                                   "NUL in a string",
		state(`{"\u0000":1}`):                                     "NUL in a string",
		state(`{"a":["x\\\u0000"]}`):                              "NUL in a string",
		state(`{"a":"\ud800"}`):                                   "half of a surrogate pair in a string",
		state(`{"a":"\udc00\ud800"}`):                             "half of a surrogate pair in a string",
		state(`{"a":"\ud800\u0041"}`):                             "half of a surrogate pair in a string",
		state(`{"a":"\ud800\\u0041"}`):                            "half of a surrogate pair in a string",
		state(`{"a":1e400}`):                                      "number is out of range",
		state(`{"a":` + strings.Repeat("1", 65) + `}`):            "number is too long",
		state(`{"a":` + strings.Repeat("[", depthMax) + strings.Repeat("]", depthMax) + `}`): "payload is nested too deep",
		state(tooManyMembers()):                                   "object of too many members",
		state(`{"a":"` + strings.Repeat("b", ReadingsMax) + `"}`): "readings are longer than 4 KiB",

		`{"time":1,"readings":{}}`:                                                "state lacks a member",
		`{"sequence":1,"readings":{}}`:                                            "state lacks a member",
		`{"sequence":1,"time":1}`:                                                 "state lacks a member",
		`{"SEQUENCE":1,"time":1,"readings":{}}`:                                   "state lacks a member",
		`{"sequence":0,"time":1,"readings":{}}`:                                   "integer is out of range",
		`{"sequence":-1,"time":1,"readings":{}}`:                                  "integer is out of range",
		`{"sequence":1.5,"time":1,"readings":{}}`:                                 "member is not an integer",
		`{"sequence":1e3,"time":1,"readings":{}}`:                                 "member is not an integer",
		`{"sequence":"1","time":1,"readings":{}}`:                                 "member is not an integer",
		`{"sequence":9223372036854775808,"time":1,"readings":{}}`:                 "member is not an integer",
		`{"sequence":1,"time":0,"readings":{}}`:                                   "integer is out of range",
		fmt.Sprintf(`{"sequence":1,"time":%d,"readings":{}}`, int64(momentMax+1)): "integer is out of range",
		state(`[]`):  "member is not an object",
		state(`"x"`): "member is not an object",
	} {
		_, err := DecodeState([]byte(payload))
		require.Equal(t, reason, reasonOf(err), "%.80q", payload)
	}
}

func tooManyMembers() string {
	var members []string
	for i := range membersMax + 1 {
		members = append(members, fmt.Sprintf(`"%d":1`, i))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestWhatSinglePayloadsMayNotBe(t *testing.T) {
	t.Parallel()
	without := func(payload, member string) string {
		var all map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(payload), &all))
		delete(all, member)
		less, err := json.Marshal(all)
		require.NoError(t, err)
		return string(less)
	}
	command := func(p string) error { _, err := DecodeCommand([]byte(p)); return err }
	ack := func(p string) error { _, err := DecodeAck([]byte(p)); return err }
	event := func(p string) error { _, err := DecodeEvent([]byte(p)); return err }
	link := func(p string) error { _, err := DecodeLink([]byte(p)); return err }
	long := strings.Repeat("i", idMax+1)
	for _, c := range []struct {
		reason string
		err    error
	}{
		{"command lacks a member", command(without(commandExample, "id"))},
		{"command lacks a member", command(without(commandExample, "device"))},
		{"command lacks a member", command(without(commandExample, "kind"))},
		{"command lacks a member", command(without(commandExample, "operation"))},
		{"command lacks a member", command(without(commandExample, "issued"))},
		{"command lacks a member", command(without(commandExample, "expires"))},
		{"command without a reply topic", command(without(commandExample, "reply"))},
		{"command without a reply topic", command(strings.Replace(commandExample, "/ack/one", "/event", 1))},
		{"member is not an object", command(strings.Replace(commandExample, "{}", "[]", 1))},
		{"integer is out of range", command(strings.Replace(commandExample, "42", "-1", 1))},
		{"acknowledgement lacks a member", ack(without(ackExample, "id"))},
		{"acknowledgement lacks a member", ack(without(ackExample, "time"))},
		{"acknowledgement without outcome", ack(without(ackExample, "outcome"))},
		{"acknowledgement without outcome", ack(strings.Replace(ackExample, "refused", "pending", 1))},
		{"state lacks a member", ack(strings.Replace(ackExample, `"sequence":7,`, "", 1))},
		{"payload is not an object", ack(`{"id":"a","outcome":"done","time":1,"state":[]}`)},
		{"identifier is longer than 64 bytes", ack(strings.Replace(ackExample, "0190b6e0-0000-7000-8000-000000000001", long, 1))},
		{"event lacks a member", event(without(eventExample, "id"))},
		{"event lacks a member", event(without(eventExample, "type"))},
		{"event lacks a member", event(without(eventExample, "device"))},
		{"event lacks a member", event(without(eventExample, "time"))},
		{"identifier is longer than 64 bytes", event(strings.Replace(eventExample, "e-1", long, 1))},
		{"member is not a string", event(strings.Replace(eventExample, `"alarm"`, "1", 1))},
		{"link without a session", link(without(linkExample, "session"))},
		{"link without a clock", link(without(linkExample, "clock"))},
		{"link is neither online nor offline", link(without(linkExample, "status"))},
		{"integer is out of range", link(strings.Replace(linkExample, `"catalogue":1`, `"catalogue":-1`, 1))},
	} {
		require.Equal(t, c.reason, reasonOf(c.err))
	}
}

func TestEncodeRefusesWhatNobodyWouldTake(t *testing.T) {
	t.Parallel()
	_, err := EncodeState(devices.StateReport{Sequence: 1, Time: at, Readings: json.RawMessage(`{"a":"\u0000"}`)})
	require.Error(t, err)
	_, err = EncodeState(devices.StateReport{Sequence: 1, Time: at, Readings: json.RawMessage(`{`)})
	require.Error(t, err)
	_, err = EncodeState(devices.StateReport{Sequence: 0, Time: at, Readings: json.RawMessage(`{}`)})
	require.Error(t, err)
	_, err = EncodeState(devices.StateReport{Sequence: 1, Readings: json.RawMessage(`{}`)})
	require.Error(t, err, "no time")
	_, err = EncodeCommand(Command{Order: devices.Order{CommandID: "a", Kind: "b", Operation: "c", Issued: at, Expires: at}, Reply: "elsewhere"})
	require.Error(t, err)
	_, err = EncodeAck(Ack{Ack: devices.Ack{CommandID: "a", Outcome: devices.Unknown}, Time: at})
	require.Error(t, err)
	_, err = EncodeEvent(devices.EventReport{ID: strings.Repeat("i", idMax+1), Type: "alarm", Time: at})
	require.Error(t, err)
	_, err = EncodeLink(devices.LinkReport{Online: true, Session: "s"})
	require.Error(t, err, "no clock")
}

// Generators of what can be said.

func words(most int) *rapid.Generator[string] {
	return rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return r != 0 && r != '\uFFFD' }), 1, -1, most)
}

func moments() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMilli(rapid.Int64Range(1, momentMax).Draw(t, "ms")).UTC()
	})
}

func objects() *rapid.Generator[json.RawMessage] {
	return rapid.Custom(func(t *rapid.T) json.RawMessage {
		values := rapid.OneOf(
			rapid.Custom(func(t *rapid.T) any { return words(20).Draw(t, "string") }),
			rapid.Custom(func(t *rapid.T) any { return rapid.Float64Range(-1e300, 1e300).Draw(t, "number") }),
			rapid.Custom(func(t *rapid.T) any { return rapid.Bool().Draw(t, "bool") }),
			rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(rapid.Int(), 0, 3).Draw(t, "array") }),
		)
		object, err := json.Marshal(rapid.MapOfN(words(10), values, 0, 8).Draw(t, "object"))
		if err != nil {
			t.Fatal(err)
		}
		return object
	})
}

func states() *rapid.Generator[devices.StateReport] {
	return rapid.Custom(func(t *rapid.T) devices.StateReport {
		return devices.StateReport{
			Sequence: rapid.Int64Range(1, math.MaxInt64).Draw(t, "sequence"), Time: moments().Draw(t, "time"), Readings: objects().Draw(t, "readings"),
		}
	})
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		same(t, DecodeState, EncodeState, states().Draw(t, "state"))
		same(t, DecodeCommand, EncodeCommand, Command{
			Order: devices.Order{
				CommandID: words(idMax).Draw(t, "id"), DeviceID: rapid.Int64Range(0, math.MaxInt64).Draw(t, "device"),
				Kind: devices.Kind(words(30).Draw(t, "kind")), Operation: words(30).Draw(t, "operation"),
				Issued: moments().Draw(t, "issued"), Expires: moments().Draw(t, "expires"),
			},
			Arguments: objects().Draw(t, "arguments"),
			Reply: Topic{
				Unit:   rapid.StringMatching(`[0-9a-f]{16}`).Draw(t, "unit"),
				Leaf:   LeafAck,
				Bridge: rapid.StringMatching(`[a-z0-9-]{1,32}`).Draw(t, "bridge"),
			}.String(),
		})
		ack := Ack{Time: moments().Draw(t, "time"), Ack: devices.Ack{
			CommandID: words(idMax).Draw(t, "id"), Outcome: rapid.SampledFrom([]devices.Outcome{devices.Done, devices.Refused}).Draw(t, "outcome"),
			Reason: rapid.OneOf(rapid.Just(""), words(300)).Draw(t, "reason"),
		}}
		if rapid.Bool().Draw(t, "stateful") {
			state := states().Draw(t, "state of it")
			ack.State = &state
		}
		same(t, DecodeAck, EncodeAck, ack)
		same(t, DecodeEvent, EncodeEvent, devices.EventReport{
			ID: words(idMax).Draw(t, "id"), Type: devices.EventType(words(20).Draw(t, "type")),
			DeviceID: rapid.Int64Range(0, math.MaxInt64).Draw(t, "device"), Time: moments().Draw(t, "time"),
			Text: rapid.OneOf(rapid.Just(""), words(300)).Draw(t, "text"),
		})
		link := devices.LinkReport{Session: words(idMax).Draw(t, "session")}
		if link.Online = rapid.Bool().Draw(t, "online"); link.Online {
			link.Clock = moments().Draw(t, "clock")
			link.Firmware = rapid.OneOf(rapid.Just(""), words(64)).Draw(t, "firmware")
			link.Catalogue = int(rapid.Int32Range(0, math.MaxInt32).Draw(t, "catalogue"))
		}
		same(t, DecodeLink, EncodeLink, link)
	})
}

func same[T any](t *rapid.T, decode func([]byte) (T, error), encode func(T) ([]byte, error), want T) {
	payload, err := encode(want)
	if err != nil {
		t.Fatalf("encode %+v: %v", want, err)
	}
	got, err := decode(payload)
	if err != nil {
		t.Fatalf("decode %s: %v", payload, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s: %s", payload, diff)
	}
}

func FuzzDecodeCommand(f *testing.F) { fuzz(f, DecodeCommand, EncodeCommand) }
func FuzzDecodeAck(f *testing.F)     { fuzz(f, DecodeAck, EncodeAck) }
func FuzzDecodeState(f *testing.F)   { fuzz(f, DecodeState, EncodeState) }
func FuzzDecodeEvent(f *testing.F)   { fuzz(f, DecodeEvent, EncodeEvent) }
func FuzzDecodeLink(f *testing.F)    { fuzz(f, DecodeLink, EncodeLink) }

// fuzz wants of whatever a decoder takes that encoding/json takes it too, that it
// holds nothing twice and no NUL, and that encoded and decoded again it is the same.
func fuzz[T any](f *testing.F, decode func([]byte) (T, error), encode func(T) ([]byte, error)) {
	for _, example := range []string{
		commandExample, ackExample, stateExample, eventExample, linkExample, willExample,
		state(`{"a":"\ud83e\udd8a","b":[1,2.5e-3,{"c":null}]}`), state(`{"a":"\u0000"}`), `{"id":"a","id":"b"}`,
	} {
		f.Add([]byte(example))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		original := bytes.Clone(payload)
		value, err := decode(payload)
		require.Equal(t, original, payload, "the payload is not the decoder's to change")
		if err != nil {
			require.NotEmpty(t, reasonOf(err))
			return
		}
		require.LessOrEqual(t, len(payload), PayloadMax)
		var object map[string]any
		require.NoError(t, json.Unmarshal(payload, &object))
		require.NotContains(t, fmt.Sprint(object), "\x00")
		again, err := encode(value)
		if len(payload) > PayloadMax/8 && err != nil {
			return // escaped, it may have become longer than allowed
		}
		require.NoError(t, err)
		back, err := decode(again)
		require.NoError(t, err)
		compact := cmp.Transformer("compact", func(m json.RawMessage) any {
			var v any
			if m != nil {
				require.NoError(t, json.Unmarshal(m, &v))
			}
			return v
		})
		require.Empty(t, cmp.Diff(value, back, compact))
	})
}

func BenchmarkCodec(b *testing.B) {
	command, err := DecodeCommand([]byte(commandExample))
	require.NoError(b, err)
	ack, err := DecodeAck([]byte(ackExample))
	require.NoError(b, err)
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"encode command", func() error { _, err := EncodeCommand(command); return err }},
		{"decode command", func() error { _, err := DecodeCommand([]byte(commandExample)); return err }},
		{"encode ack", func() error { _, err := EncodeAck(ack); return err }},
		{"decode ack", func() error { _, err := DecodeAck([]byte(ackExample)); return err }},
		{"decode state", func() error { _, err := DecodeState([]byte(stateExample)); return err }},
		{"parse topic", func() error { _, err := ParseTopic("hc/1/00a1b2c3d4e5f607/state/42"); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
