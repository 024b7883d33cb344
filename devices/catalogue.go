package devices

import (
	"slices"
	"time"
)

// CatalogueVersion is the version of the Catalogue that this code was built with. It
// rises when an operation is added; a unit tells the version it knows when it comes online.
const CatalogueVersion = 2

// Action is what a Row of the Catalogue does.
type Action int

const (
	ListSites        Action = iota + 1 // the caller's sites
	ReadSecurity                       // how the alarm stands
	ListDevices                        // the site's devices of the row's kinds
	ListEverything                     // the site's devices of all kinds
	ReadDevice                         // what was last reported of a device
	ReadMeasurements                   // what was measured by a device
	Operate                            // a command to the unit
	ListGroups                         // the site's groups of devices of the row's Kind
	OperateGroup                       // a command to each device of a group
	ListScenarios                      // the site's scenarios
	PlayScenario                       // the commands of a scenario
	SwitchScenario                     // lets a scenario run by itself, or not
	ReadHistory                        // the site's history
	ListLibrary                        // pictures and films: none yet
	NotYet                             // described, and not there yet
	ReadCommand                        // the record of a command
)

// Row is one operation of the API. Everything that depends on which operations
// exist is derived from the rows: the routes, what a unit understands, what the
// simulated home can do, what a token can be good for, and how long a command stays good.
type Row struct {
	Path   string // below /v2, with the variables {site}, {device}, {group}, {scenario}, {video} and {command}
	Action Action
	Kind   Kind   // empty where the row is not about one kind
	Also   []Kind // more kinds of device that the row is about
	// Operation is the last segment of Path; of Operate and OperateGroup it is the word on
	// the wire to the unit.
	Operation string
	// Scope is what a token must be good for; empty where any token will do.
	Scope string
	// Since is the version of the catalogue that a unit must know for an Operate.
	Since int
	// Expiry is how long after acceptance a unit may still begin an Operate: as long as
	// it would not surprise the person who asked.
	Expiry time.Duration
	// Type is the kind of history entry that a done Operate leaves, Label its sentence, and
	// Tried how the sentence goes on that begins with "Alice could not".
	Type         HistoryType
	Label, Tried Text
	// Sets are the readings that a done Operate leads to.
	Sets map[string]any
	// Fields are what an item has besides that it is a device: of ListDevices, ReadDevice
	// and ReadMeasurements.
	Fields []Field
	// Count is the key under which a site says how many devices the row lists.
	Count string
	// Group is what a group of the row's Kind is called, of ListGroups.
	Group string
	// Legacy rows are other names of rows before them: without parameters, and their lists
	// are bare arrays.
	Legacy bool
}

// Field is a key of an item that says a reading.
type Field struct {
	Key     string
	Reading string
	At      string // the key that says when the reading was taken, or since when it is null; empty: none does
	Else    any    // what stands for a reading that is null
}

// Kinds lists the kinds of device that the row is about; none if it is about all or none.
func (r Row) Kinds() []Kind {
	if r.Kind == "" {
		return nil
	}
	return append([]Kind{r.Kind}, r.Also...)
}

func (r Row) covers(kind Kind) bool { return slices.Contains(r.Kinds(), kind) }

// Commands reports whether the row makes something happen in the house, or decides
// that it will.
func (r Row) Commands() bool {
	switch r.Action {
	case Operate, OperateGroup, PlayScenario, SwitchScenario:
		return true
	default:
		return r.Action == NotYet && r.Kind == Camera
	}
}

// Catalogue is the table of all operations of the API. The caller may keep and
// change the slice.
func Catalogue() []Row {
	const (
		site    = "/site/{site}"
		device  = site + "/device/{device}"
		long    = time.Minute
		brief   = 10 * time.Second
		arming  = 30 * time.Second
		version = 2
	)
	type sets = map[string]any
	light := Field{Key: "light", Reading: "light", At: "lightAt"}
	temperature := Field{Key: "lastTemperature", Reading: "temperature", At: "lastTemperatureAt"}
	heater := []Field{
		{Key: "modeLabel", Reading: "heating", Else: "wired"},
		{Key: "stateLabel", Reading: "mode"},
		{Key: "lastTemperature", Reading: "temperature"},
	}
	arm := func(level, scope string, expiry time.Duration, label, tried Text) Row {
		return Row{
			Path: site + "/security/set/" + level, Action: Operate, Kind: Security, Operation: level, Scope: scope, Expiry: expiry,
			Type: HistorySecurity, Label: label, Tried: tried, Sets: sets{"level": level},
		}
	}
	operate := func(kind Kind, operation string, since int, expiry time.Duration, label, tried Text, makes sets) Row {
		return Row{
			Path: device + "/" + string(kind) + "/" + operation, Action: Operate, Kind: kind, Operation: operation,
			Scope: string(kind) + ":operate", Since: since, Expiry: expiry, Type: HistoryHomeAuto, Label: label, Tried: tried, Sets: makes,
		}
	}
	perform := func(kind Kind, action, english, french string) Row {
		r := operate(kind, action, version, brief,
			Text{"{device}: " + english + " action by {who}", "{device} : " + french + " action par {who}"},
			Text{"perform the " + english + " action of {device}", "lancer la " + french + " action de {device}"}, sets{"action": action})
		r.Path = device + "/" + string(kind) + "/perform/" + action
		return r
	}
	heat := func(also []Kind, kind Kind, operation, mode, english, french string) Row {
		r := operate(kind, operation, version, long,
			Text{"{device} set to " + english + " by {who}", "{device} : mode " + french + " choisi par {who}"},
			Text{"set {device} to " + english, "mettre {device} en mode " + french}, sets{"mode": mode})
		r.Path, r.Scope, r.Also = device+"/heater/"+operation, "heater:operate", also
		return r
	}
	group := func(kind Kind, name, operation string) Row {
		return Row{Path: site + "/group/{group}/" + name + "/" + operation, Action: OperateGroup, Kind: kind, Operation: operation, Scope: string(kind) + ":operate"}
	}
	scenario := func(action Action, operation string, label, tried Text) Row {
		return Row{
			Path: site + "/scenario/{scenario}/" + operation, Action: action, Operation: operation, Scope: "scenario:operate",
			Type: HistoryScenario, Label: label, Tried: tried,
		}
	}
	notYet := func(path, operation string) Row {
		return Row{Path: device + "/camera/" + path + operation, Action: NotYet, Kind: Camera, Operation: operation}
	}
	both := []Kind{Thermostat}
	rows := []Row{
		{Path: "/client/site/items", Action: ListSites},

		{Path: site + "/security", Action: ReadSecurity, Kind: Security, Scope: "security:read"},
		arm("armed", "security:arm", arming, Text{"Alarm armed by {who}", "{who} a activé l’alarme"}, Text{"arm the alarm", "activer l’alarme"}),
		arm("partial", "security:arm", arming, Text{"Alarm partially armed by {who}", "{who} a activé l’alarme partiellement"},
			Text{"partially arm the alarm", "activer l’alarme partiellement"}),
		arm("disarmed", "security:disarm", brief, Text{"Alarm disarmed by {who}", "{who} a désactivé l’alarme"}, Text{"disarm the alarm", "désactiver l’alarme"}),

		{Path: site + "/scenario/items", Action: ListScenarios, Scope: "scenario:read", Count: "scenarioCount"},
		scenario(PlayScenario, "play", Text{"Scenario “{scenario}” played by {who}", "{who} a lancé le scénario « {scenario} »"},
			Text{"play the scenario “{scenario}”", "lancer le scénario « {scenario} »"}),
		scenario(SwitchScenario, "enable", Text{"Scenario “{scenario}” enabled by {who}", "{who} a activé le scénario « {scenario} »"}, Text{}),
		scenario(SwitchScenario, "disable", Text{"Scenario “{scenario}” disabled by {who}", "{who} a désactivé le scénario « {scenario} »"}, Text{}),

		{Path: site + "/device/camera/items", Action: ListDevices, Kind: Camera, Count: "cameraCount"},
		notYet("live/start/", "hls"), notYet("live/start/", "rtmp"), notYet("live/", "extend"), notYet("live/", "stop"),
		notYet("preview/", "take"), notYet("recording/", "start"), notYet("recording/", "stop"), notYet("snapshot/", "take"),
		notYet("shutter/", "open"), notYet("shutter/", "close"),

		{
			Path: site + "/device/data/light/items", Action: ListDevices, Kind: Light, Also: []Kind{Climate}, Scope: "sensor:read",
			Fields: []Field{light}, Count: "deviceLightCount",
		},
		{
			Path: device + "/data/light", Action: ReadMeasurements, Kind: Light, Also: []Kind{Climate}, Scope: "sensor:read",
			Fields: []Field{{Key: "level", Reading: "light"}},
		},
		{
			Path: site + "/device/data/other/items", Action: ListDevices, Kind: Detector, Scope: "sensor:read",
			Fields: []Field{{Key: "state", Reading: "state", At: "stateAt"}}, Count: "deviceDetectorCount",
		},
		{
			Path: site + "/device/data/state/items", Action: ListDevices, Kind: Contact, Scope: "sensor:read",
			Fields: []Field{{Key: "stateLabel", Reading: "state", At: "stateAt"}}, Count: "deviceStateCount",
		},
		{
			Path: device + "/data/state", Action: ReadDevice, Kind: Contact, Scope: "sensor:read",
			Fields: []Field{{Key: "stateLabel", Reading: "state", At: "stateAt"}},
		},
		{
			Path: site + "/device/data/temperature/items", Action: ListDevices, Kind: Temperature, Also: []Kind{Climate}, Scope: "sensor:read",
			Fields: []Field{temperature}, Count: "deviceTemperatureCount",
		},
		{
			Path: device + "/data/temperature", Action: ReadMeasurements, Kind: Temperature, Also: []Kind{Climate}, Scope: "sensor:read",
			Fields: []Field{{Key: "celsius", Reading: "temperature"}},
		},

		{Path: site + "/device/gate/items", Action: ListDevices, Kind: Gate, Scope: "gate:read", Count: "gateCount"},
		perform(Gate, "one", "first", "première"), perform(Gate, "two", "second", "seconde"),
		{Path: site + "/device/module/items", Action: ListDevices, Kind: Module, Scope: "module:read", Count: "moduleCount"},
		perform(Module, "one", "first", "première"), perform(Module, "two", "second", "seconde"),

		{Path: site + "/device/heater/items", Action: ListDevices, Kind: Heater, Also: both, Scope: "heater:read", Fields: heater, Count: "heaterCount"},
		{Path: site + "/device/heater/items/withthermostat", Action: ListDevices, Kind: Thermostat, Scope: "heater:read", Fields: heater},
		heat(both, Heater, "on", "on", "on", "marche"), heat(both, Heater, "off", "off", "off", "arrêt"),
		heat(both, Heater, "eco", "eco", "eco", "éco"), heat(both, Heater, "frost", "frost", "frost protection", "hors-gel"),
		heat(nil, Thermostat, "auto", "auto", "automatic", "automatique"), heat(nil, Thermostat, "away", "away", "away", "absence"),
		heat(nil, Thermostat, "boost", "boost", "boost", "boost"), heat(nil, Thermostat, "thermostatoff", "off", "off", "arrêt"),

		{Path: site + "/device/socket/items", Action: ListDevices, Kind: Socket, Scope: "socket:read", Count: "socketCount"},
		operate(Socket, "on", 1, long, Text{"{device} switched on by {who}", "{who} a allumé {device}"}, Text{"switch {device} on", "allumer {device}"}, sets{"on": true}),
		operate(Socket, "off", 1, long, Text{"{device} switched off by {who}", "{who} a éteint {device}"}, Text{"switch {device} off", "éteindre {device}"}, sets{"on": false}),

		{Path: site + "/device/shutter/items", Action: ListDevices, Kind: Shutter, Scope: "shutter:read", Count: "shutterCount"},
		operate(Shutter, "open", 1, long, Text{"{device} opened by {who}", "{who} a ouvert {device}"}, Text{"open {device}", "ouvrir {device}"}, sets{"position": 100}),
		operate(Shutter, "close", 1, long, Text{"{device} closed by {who}", "{who} a fermé {device}"}, Text{"close {device}", "fermer {device}"}, sets{"position": 0}),
		operate(Shutter, "my", 1, long, Text{"{device} moved to its favourite position by {who}", "{who} a mis {device} en position favorite"},
			Text{"move {device} to its favourite position", "mettre {device} en position favorite"}, sets{"position": 30}),

		{Path: site + "/group/electric/items", Action: ListGroups, Kind: Socket, Scope: "socket:read", Group: "Electrical devices"},
		group(Socket, "electric", "on"), group(Socket, "electric", "off"),
		{Path: site + "/group/shutter/items", Action: ListGroups, Kind: Shutter, Scope: "shutter:read", Group: "Shutters"},
		group(Shutter, "shutter", "open"), group(Shutter, "shutter", "close"),

		{Path: site + "/history", Action: ReadHistory, Scope: "history:read"},

		{Path: site + "/library/image/items", Action: ListLibrary},
		{Path: site + "/library/video/items", Action: ListLibrary},
		{Path: site + "/library/video/{video}/play", Action: NotYet, Operation: "play"},

		{Path: site + "/device", Action: ListEverything},
		{Path: site + "/command/{command}", Action: ReadCommand},
	}
	return append(rows, legacy(rows)...)
}

// legacy makes the other names of rows: the path that each had before.
func legacy(rows []Row) []Row {
	var list []Row
	for _, name := range []struct{ path, was string }{
		{"/client/site/items", "/client/site/list"},
		{"/site/{site}/device/camera/items", "/site/{site}/device/camera/list"},
		{"/site/{site}/device/gate/items", "/site/{site}/device/gate/list"},
		{"/site/{site}/device/heater/items", "/site/{site}/device/heater/list"},
		{"/site/{site}/device/shutter/items", "/site/{site}/device/shutter/list"},
		{"/site/{site}/device/socket/items", "/site/{site}/device/socket/list"},
		{"/site/{site}/device/data/temperature/items", "/site/{site}/device/data/temperature/list"},
		{"/site/{site}/device/{device}/data/temperature", "/site/{site}/device/{device}/data/temperature/get"},
		{"/site/{site}/group/electric/items", "/site/{site}/group/electric/list"},
		{"/site/{site}/group/shutter/items", "/site/{site}/group/shutter/list"},
		{"/site/{site}/history", "/site/{site}/history/get"},
		{"/site/{site}/library/image/items", "/site/{site}/library/image/list"},
		{"/site/{site}/library/video/items", "/site/{site}/library/video/list"},
		{"/site/{site}/scenario/items", "/site/{site}/scenario/list"},
		{"/site/{site}/security", "/site/{site}/security/get"},
	} {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Path == name.path })
		row := rows[i]
		row.Path, row.Legacy, row.Count = name.was, true, ""
		list = append(list, row)
	}
	return list
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

// table is the Catalogue and the Things, made once for who asks often.
type table struct {
	rows   []Row
	things map[Kind]Thing
}

func newTable() table {
	t := table{rows: Catalogue(), things: map[Kind]Thing{}}
	for _, thing := range Things() {
		t.things[thing.Kind] = thing
	}
	return t
}

// operation finds the row that operates kind so, and reports whether there is one.
func (t table) operation(kind Kind, operation string) (Row, bool) {
	return t.find(func(r Row) bool { return r.Action == Operate && r.covers(kind) && r.Operation == operation })
}

// row finds the row that does this with this Kind, and reports whether there is one. Of
// legacy rows it finds the one whose other name they are.
func (t table) row(action Action, kind Kind, operation string) (Row, bool) {
	return t.find(func(r Row) bool { return r.Action == action && r.Kind == kind && r.Operation == operation })
}

func (t table) find(is func(Row) bool) (Row, bool) {
	i := slices.IndexFunc(t.rows, is)
	if i < 0 {
		return Row{}, false
	}
	return t.rows[i], true
}

// OperationOf finds the row that operates kind so, and reports whether there is one.
func OperationOf(kind Kind, operation string) (Row, bool) {
	return newTable().operation(kind, operation)
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
