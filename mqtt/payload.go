package mqtt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// Command is the payload of LeafCommand. Its UnitID is the topic's and empty here.
type Command struct {
	devices.Order
	// Arguments is a JSON object: empty for every operation of the catalogue so far.
	// nil is encoded as the empty object.
	Arguments json.RawMessage
	// Reply is the topic of the answer: LeafAck of the unit, for the bridge that asked.
	Reply string
}

// Ack is the payload of LeafAck. Time is the unit's clock when it answered. The State is of
// the command's device: its DeviceID is 0 here whatever that is.
type Ack struct {
	devices.Ack
	Time time.Time
}

// Each Decode takes a payload as it came off the wire. Names that it does not know
// are ignored, so that a newer peer can say more. Whatever else is wrong is a
// *devices.Rejected whose reason is a fixed phrase without anything of the payload. Times
// are UTC, to the millisecond. Each Encode refuses what its Decode would.

type commandJSON struct {
	ID        string          `json:"id"`
	Device    int64           `json:"device"`
	Kind      devices.Kind    `json:"kind"`
	Operation string          `json:"operation"`
	Arguments json.RawMessage `json:"arguments"`
	Issued    int64           `json:"issued"`
	Expires   int64           `json:"expires"`
	Reply     string          `json:"reply"`
}

// EncodeCommand writes the payload of a command.
func EncodeCommand(c Command) ([]byte, error) {
	if c.Arguments == nil {
		c.Arguments = json.RawMessage("{}")
	}
	return encode(commandJSON{
		ID: c.CommandID, Device: c.DeviceID, Kind: c.Kind, Operation: c.Operation, Arguments: c.Arguments,
		Issued: c.Issued.UnixMilli(), Expires: c.Expires.UnixMilli(), Reply: c.Reply,
	}, DecodeCommand)
}

// DecodeCommand reads the payload of a command.
func DecodeCommand(payload []byte) (Command, error) {
	c := Command{Arguments: json.RawMessage("{}")}
	c.DeviceID = unsaid
	err := members(payload, func(name string, value []byte) error {
		switch name {
		case "id":
			return id(value, &c.CommandID)
		case "device":
			return device(value, &c.DeviceID)
		case "kind":
			return text(value, (*string)(&c.Kind))
		case "operation":
			return text(value, &c.Operation)
		case "arguments":
			return object(value, &c.Arguments)
		case "issued":
			return moment(value, &c.Issued)
		case "expires":
			return moment(value, &c.Expires)
		case "reply":
			return text(value, &c.Reply)
		}
		return nil
	})
	if err != nil {
		return Command{}, err
	}
	if c.CommandID == "" || c.DeviceID == unsaid || c.Kind == "" || c.Operation == "" || c.Issued.IsZero() || c.Expires.IsZero() {
		return Command{}, rejected("command lacks a member")
	}
	if reply, err := ParseTopic(c.Reply); err != nil || reply.Leaf != LeafAck {
		return Command{}, rejected("command without a reply topic")
	}
	return c, nil
}

type ackJSON struct {
	ID      string          `json:"id"`
	Outcome devices.Outcome `json:"outcome"`
	Reason  string          `json:"reason,omitempty"`
	Time    int64           `json:"time"`
	State   *stateJSON      `json:"state,omitempty"`
}

// EncodeAck writes the payload of an answer.
func EncodeAck(a Ack) ([]byte, error) {
	wire := ackJSON{ID: a.CommandID, Outcome: a.Outcome, Reason: a.Reason, Time: a.Time.UnixMilli()}
	if a.State != nil {
		wire.State = &stateJSON{Sequence: a.State.Sequence, Time: a.State.Time.UnixMilli(), Readings: a.State.Readings}
	}
	return encode(wire, DecodeAck)
}

// DecodeAck reads the payload of an answer.
func DecodeAck(payload []byte) (Ack, error) {
	var a Ack
	err := members(payload, func(name string, value []byte) error {
		switch name {
		case "id":
			return id(value, &a.CommandID)
		case "outcome":
			return text(value, (*string)(&a.Outcome))
		case "reason":
			return text(value, &a.Reason)
		case "time":
			return moment(value, &a.Time)
		case "state":
			if absent(value) {
				return nil
			}
			state, err := decodeState(value, within)
			a.State = &state
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return Ack{}, err
	case a.CommandID == "" || a.Time.IsZero():
		return Ack{}, rejected("acknowledgement lacks a member")
	case a.Outcome != devices.Done && a.Outcome != devices.Refused:
		return Ack{}, rejected("acknowledgement without outcome")
	}
	return a, nil
}

type stateJSON struct {
	Sequence int64           `json:"sequence"`
	Time     int64           `json:"time"`
	Readings json.RawMessage `json:"readings"`
}

// EncodeState writes the payload of a state. The device is the topic's.
func EncodeState(r devices.StateReport) ([]byte, error) {
	return encode(stateJSON{Sequence: r.Sequence, Time: r.Time.UnixMilli(), Readings: r.Readings}, DecodeState)
}

// DecodeState reads the payload of a state. The device is the topic's: DeviceID is 0.
func DecodeState(payload []byte) (devices.StateReport, error) { return decodeState(payload, members) }

func decodeState(payload []byte, each func([]byte, func(string, []byte) error) error) (devices.StateReport, error) {
	var r devices.StateReport
	err := each(payload, func(name string, value []byte) error {
		switch name {
		case "sequence":
			return integer(value, &r.Sequence, 1, math.MaxInt64)
		case "time":
			return moment(value, &r.Time)
		case "readings":
			return object(value, &r.Readings)
		}
		return nil
	})
	switch {
	case err != nil:
		return devices.StateReport{}, err
	case r.Sequence == 0 || r.Time.IsZero() || r.Readings == nil:
		return devices.StateReport{}, rejected("state lacks a member")
	case len(r.Readings) > ReadingsMax:
		return devices.StateReport{}, rejected("readings are longer than 4 KiB")
	}
	return r, nil
}

type eventJSON struct {
	ID     string            `json:"id"`
	Type   devices.EventType `json:"type"`
	Device int64             `json:"device"`
	Time   int64             `json:"time"`
	Text   string            `json:"text,omitempty"`
}

// EncodeEvent writes the payload of an event.
func EncodeEvent(r devices.EventReport) ([]byte, error) {
	return encode(eventJSON{ID: r.ID, Type: r.Type, Device: r.DeviceID, Time: r.Time.UnixMilli(), Text: r.Text}, DecodeEvent)
}

// DecodeEvent reads the payload of an event.
func DecodeEvent(payload []byte) (devices.EventReport, error) {
	r := devices.EventReport{DeviceID: unsaid}
	err := members(payload, func(name string, value []byte) error {
		switch name {
		case "id":
			return id(value, &r.ID)
		case "type":
			return text(value, (*string)(&r.Type))
		case "device":
			return device(value, &r.DeviceID)
		case "time":
			return moment(value, &r.Time)
		case "text":
			return text(value, &r.Text)
		}
		return nil
	})
	if err != nil {
		return devices.EventReport{}, err
	}
	if r.ID == "" || r.DeviceID == unsaid || r.Type == "" || r.Time.IsZero() {
		return devices.EventReport{}, rejected("event lacks a member")
	}
	return r, nil
}

// What status says in the payload of a link.
const (
	online  = "online"
	offline = "offline"
)

type linkJSON struct {
	Status    string `json:"status"`
	Session   string `json:"session"`
	Clock     int64  `json:"clock,omitempty"`
	Firmware  string `json:"firmware,omitempty"`
	Catalogue int    `json:"catalogue,omitempty"`
}

// EncodeOffline makes the payload by which a unit that was online in this session is
// offline.
func EncodeOffline(session string) ([]byte, error) {
	return EncodeLink(devices.LinkReport{Session: session})
}

// EncodeLink writes the payload of a link. Retained is not part of it. Of an
// offline report only the session is.
func EncodeLink(r devices.LinkReport) ([]byte, error) {
	wire := linkJSON{Status: offline, Session: r.Session}
	if r.Online {
		wire = linkJSON{online, r.Session, r.Clock.UnixMilli(), r.Firmware, r.Catalogue}
	}
	return encode(wire, DecodeLink)
}

// DecodeLink reads the payload of a link. Retained is false.
func DecodeLink(payload []byte) (devices.LinkReport, error) {
	var r devices.LinkReport
	var status string
	err := members(payload, func(name string, value []byte) error {
		switch name {
		case "status":
			return text(value, &status)
		case "session":
			return id(value, &r.Session)
		case "clock":
			return moment(value, &r.Clock)
		case "firmware":
			return text(value, &r.Firmware)
		case "catalogue":
			var version int64
			err := integer(value, &version, 0, math.MaxInt32)
			r.Catalogue = int(version)
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return devices.LinkReport{}, err
	case r.Session == "":
		return devices.LinkReport{}, rejected("link without a session")
	case status == offline:
		return devices.LinkReport{Session: r.Session}, nil
	case status != online:
		return devices.LinkReport{}, rejected("link is neither online nor offline")
	case r.Clock.IsZero():
		return devices.LinkReport{}, rejected("link without a clock")
	}
	r.Online = true
	return r, nil
}

// encode writes v, and reads it again to be sure that the other side can.
func encode[T any](v any, decode func([]byte) (T, error)) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // it is no HTML, and escaped it might become too long
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	payload := bytes.TrimRight(b.Bytes(), "\n")
	if _, err := decode(payload); err != nil {
		return nil, fmt.Errorf("encode payload that nobody would take: %w", err)
	}
	return payload, nil
}

// The readers of one value. null is as if the member were not there.

func absent(value []byte) bool { return string(value) == "null" }

func text(value []byte, into *string) error {
	if absent(value) {
		return nil
	}
	if value[0] != '"' {
		return rejected("member is not a string")
	}
	s, err := unquote(value)
	*into = s
	return err
}

// idMax is the longest identifier, in bytes.
const idMax = 64

func id(value []byte, into *string) error {
	if err := text(value, into); err != nil {
		return err
	}
	if len(*into) > idMax {
		return rejected("identifier is longer than 64 bytes")
	}
	return nil
}

func integer(value []byte, into *int64, least, most int64) error {
	if absent(value) {
		return nil
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return rejected("member is not an integer")
	}
	if n < least || n > most {
		return rejected("integer is out of range")
	}
	*into = n
	return nil
}

// unsaid is the device of a payload that names none: a missing device must not become
// the alarm.
const unsaid int64 = -1

func device(value []byte, into *int64) error { return integer(value, into, 0, math.MaxInt64) }

// momentMax is the last millisecond of the year 9999, which every store can keep.
const momentMax = 253402300799999

func moment(value []byte, into *time.Time) error {
	var ms int64
	if err := integer(value, &ms, 1, momentMax); err != nil {
		return err
	}
	if ms > 0 {
		*into = time.UnixMilli(ms).UTC()
	}
	return nil
}

func object(value []byte, into *json.RawMessage) error {
	if absent(value) {
		return nil
	}
	if value[0] != '{' {
		return rejected("member is not an object")
	}
	*into = json.RawMessage(value)
	return nil
}
