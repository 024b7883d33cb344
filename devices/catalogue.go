package devices

import (
	"slices"
	"time"
)

// CatalogueVersion is the version of the Catalogue that this code was built with. It
// rises when a Row is added; a unit tells the version it knows when it comes online.
const CatalogueVersion = 1

// Kind is a kind of thing in a house.
type Kind string

const (
	Security Kind = "security" // the site's alarm
	Socket   Kind = "socket"
	Shutter  Kind = "shutter"
)

// DeviceKinds lists the kinds that a device can be of, in the order of the
// Catalogue: all but Security, which is the unit itself.
func DeviceKinds() []Kind {
	var kinds []Kind
	for _, row := range Catalogue() {
		if row.Action == ListDevices {
			kinds = append(kinds, row.Kind)
		}
	}
	return kinds
}

// Action is what a Row of the Catalogue does.
type Action int

const (
	ListSites    Action = iota + 1 // the caller's sites
	ReadSecurity                   // the alarm's level
	ListDevices                    // the site's devices of the row's Kind
	Operate                        // a command to the unit
	ReadHistory                    // the site's history
	ReadCommand                    // the record of a command
)

// Row is one operation of the API. Everything that depends on which operations
// exist is derived from the rows: the routes, what a unit understands, what the
// simulated home can do, what a token can be good for, and how long a command stays good.
type Row struct {
	Path      string // below /v2, with the variables {site}, {device} and {command}
	Action    Action
	Kind      Kind   // empty where the row is not about one kind
	Operation string // of Operate: the word on the wire to the unit, and the last segment of Path
	// Scope is what a token must be good for; empty where any token will do.
	Scope string
	// Expiry is how long after acceptance a unit may still begin an Operate: as long as
	// it would not surprise the person who asked.
	Expiry time.Duration
	// Type is the kind of history entry that a done Operate leaves, and Label its
	// sentence: {device} stands for the device's label, {who} for the person and the
	// application.
	Type  HistoryType
	Label string
	// Model of ListDevices is what a device of this kind is called that was registered
	// without a model.
	Model Model
}

// Model names a make of device. Clients treat both fields as opaque.
type Model struct {
	ID    int
	Label string
}

// Catalogue is the table of all operations of the API. The caller may keep and
// change the slice.
func Catalogue() []Row {
	const site = "/site/{site}"
	const device = site + "/device/{device}"
	return []Row{
		{Path: "/client/site/items", Action: ListSites},

		{Path: site + "/security", Action: ReadSecurity, Kind: Security, Scope: "security:read"},
		{Path: site + "/security/set/armed", Action: Operate, Kind: Security, Operation: "armed", Scope: "security:arm", Expiry: 30 * time.Second, Type: HistorySecurity, Label: "Alarm armed by {who}"},
		{Path: site + "/security/set/partial", Action: Operate, Kind: Security, Operation: "partial", Scope: "security:arm", Expiry: 30 * time.Second, Type: HistorySecurity, Label: "Alarm partially armed by {who}"},
		{Path: site + "/security/set/disarmed", Action: Operate, Kind: Security, Operation: "disarmed", Scope: "security:disarm", Expiry: 10 * time.Second, Type: HistorySecurity, Label: "Alarm disarmed by {who}"},

		{Path: site + "/device/socket/items", Action: ListDevices, Kind: Socket, Scope: "socket:read", Model: Model{18, "Prise électrique commandée"}},
		{Path: device + "/socket/on", Action: Operate, Kind: Socket, Operation: "on", Scope: "socket:operate", Expiry: time.Minute, Type: HistoryHomeAuto, Label: "{device} switched on by {who}"},
		{Path: device + "/socket/off", Action: Operate, Kind: Socket, Operation: "off", Scope: "socket:operate", Expiry: time.Minute, Type: HistoryHomeAuto, Label: "{device} switched off by {who}"},

		{Path: site + "/device/shutter/items", Action: ListDevices, Kind: Shutter, Scope: "shutter:read", Model: Model{14, "DIO module for shutter"}},
		{Path: device + "/shutter/open", Action: Operate, Kind: Shutter, Operation: "open", Scope: "shutter:operate", Expiry: time.Minute, Type: HistoryHomeAuto, Label: "{device} opened by {who}"},
		{Path: device + "/shutter/close", Action: Operate, Kind: Shutter, Operation: "close", Scope: "shutter:operate", Expiry: time.Minute, Type: HistoryHomeAuto, Label: "{device} closed by {who}"},
		{Path: device + "/shutter/my", Action: Operate, Kind: Shutter, Operation: "my", Scope: "shutter:operate", Expiry: time.Minute, Type: HistoryHomeAuto, Label: "{device} moved to its favourite position by {who}"},

		{Path: site + "/history", Action: ReadHistory, Scope: "history:read"},
		{Path: site + "/command/{command}", Action: ReadCommand},
	}
}

// Scopes lists what a token can be good for, in the order of the Catalogue.
func Scopes() []string {
	var scopes []string
	for _, row := range Catalogue() {
		if row.Scope != "" && !slices.Contains(scopes, row.Scope) {
			scopes = append(scopes, row.Scope)
		}
	}
	return scopes
}

// OperationOf finds the row that operates kind so, and reports whether there is one.
func OperationOf(kind Kind, operation string) (Row, bool) {
	return rowOf(Operate, kind, operation)
}

func rowOf(action Action, kind Kind, operation string) (Row, bool) {
	rows := Catalogue()
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Action == action && r.Kind == kind && r.Operation == operation })
	if i < 0 {
		return Row{}, false
	}
	return rows[i], true
}

// SecurityLevel is how far the alarm is armed.
type SecurityLevel struct {
	Label string // disarmed, partial or armed
	Code  int    // 1, 2 or 4: the contract has no 3
}

// SecurityLevels lists the levels of the contract.
func SecurityLevels() []SecurityLevel {
	return []SecurityLevel{{"disarmed", 1}, {"partial", 2}, {"armed", 4}}
}
