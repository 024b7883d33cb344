package devices

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// ErrNotSent says that a command did not leave the bridge.
var ErrNotSent = errors.New("not sent")

// Order is a command on its way to a unit. Its times are in the unit's own clock.
type Order struct {
	CommandID string
	UnitID    string
	DeviceID  int64
	Kind      Kind
	Operation string
	Issued    time.Time
	Expires   time.Time
}

// Sender carries orders to units. It may be called concurrently.
type Sender interface {
	// Send hands o to the broker. Orders whose Send calls do not overlap reach their
	// unit in the order of the calls. nil says that it was handed over, and nothing
	// about the house: only the unit's Ack does. ErrNotSent says that nothing left; any other
	// error leaves that open.
	Send(ctx context.Context, o Order) error
}

// Ack is a unit's answer to an Order.
type Ack struct {
	CommandID string
	Outcome   Outcome      // Done or Refused
	Reason    string       // for Refused; may be empty
	State     *StateReport // the device's state after it; nil if the unit did not say
}

// StateReport is a State as a unit tells it: Time is in the unit's clock.
type StateReport struct {
	DeviceID int64
	Sequence int64
	Time     time.Time
	Readings json.RawMessage
}

// EventReport is something that happened in the house. Time is in the unit's clock.
type EventReport struct {
	ID       string // chosen by the unit, unique among its events, 64 bytes at the most
	Type     EventType
	DeviceID int64 // SecurityDevice if no one device is concerned
	Time     time.Time
	Text     string // a readable sentence; empty for the type's own
}

// EventType says what kind of event a unit reports.
type EventType string

const (
	EventAlarm   EventType = "alarm"   // the siren sounds
	EventTamper  EventType = "tamper"  // something was opened that should not be
	EventBattery EventType = "battery" // a battery runs low
	EventAccess  EventType = "access"  // somebody came or went: a badge, a code
)

// EventTypes lists all of them.
func EventTypes() []EventType { return []EventType{EventAlarm, EventTamper, EventBattery, EventAccess} }

// LinkReport is a unit's own word of its connection, or its last will. Clock is the
// unit's clock as it spoke; zero in an offline report.
type LinkReport struct {
	Online    bool
	Session   string
	Firmware  string
	Catalogue int
	Clock     time.Time
	// Retained says that the broker kept this message and delivers it late, so that
	// Clock tells nothing.
	Retained bool
}

// Rejected says that what a unit sent is not acceptable, and changed nothing.
type Rejected struct {
	Reason string // a fixed phrase, fit for a metrics label and a log line
}

func (r *Rejected) Error() string { return "rejected: " + r.Reason }
