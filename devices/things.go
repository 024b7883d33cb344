package devices

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
)

// Kind is a kind of thing in a house. It is the word for it on the wire to the unit.
type Kind string

const (
	Security    Kind = "security" // the site's alarm
	Socket      Kind = "socket"
	Shutter     Kind = "shutter"
	Gate        Kind = "gate"
	Module      Kind = "module"
	Heater      Kind = "heater"
	Thermostat  Kind = "thermostat" // a heater that keeps a temperature by itself
	Temperature Kind = "temperature"
	Light       Kind = "light"
	Climate     Kind = "climate" // temperature and light in one
	Contact     Kind = "contact" // of a door or a window
	Detector    Kind = "detector"
	Camera      Kind = "camera" // no unit drives one yet
)

// Scene stands among the counts of a site for its scenarios.
const Scene Kind = "scenario"

// Thing is a kind of thing in a house: what a unit says of one.
type Thing struct {
	Kind Kind
	// Model is what a device is called that was registered without a model; zero for the
	// alarm, which is not registered.
	Model    Model
	Readings []Reading
}

// Model names a make of device. Clients treat both fields as opaque.
type Model struct {
	ID    int
	Label string
}

// Reading is something that a unit says of a thing, under this name in its state. What
// is not null is a flag if neither Words nor Most is set, one of Words if those are,
// else a number from Least to Most.
type Reading struct {
	Name        string
	Words       []string
	Least, Most float64   // inclusive
	Only        []float64 // the numbers that have a meaning; empty: all
	Null        bool      // it may be null, or left out
	Measured    bool      // its values are kept as measurements
	Mean        bool      // of an hour's measurements the mean is kept, else the last
	Slow        bool      // it gets to where an operation sends it little by little
	Moment      bool      // a time in the unit's clock
	Start       any       // of a simulated thing
	Changes     []Change
}

// Change is what the history says when a reading becomes Value and no command is
// the reason.
type Change struct {
	Value any
	Type  HistoryType
	Label Text
}

// momentMax is the last millisecond of the year 9999.
const momentMax = 253402300799999

// Things lists the kinds of thing that a unit can drive, the alarm first. The caller may
// keep and change the slice.
func Things() []Thing {
	level := func(value, english, french string) Change {
		return Change{value, HistorySecurity, Text{english, french}}
	}
	mode := Reading{Name: "mode", Words: []string{"on", "off", "eco", "frost"}, Start: "off"}
	modes := Reading{Name: "mode", Words: []string{"on", "off", "eco", "frost", "auto", "away", "boost"}, Start: "off"}
	heating := func(start string) Reading {
		return Reading{Name: "heating", Words: []string{"boiler", "wired"}, Null: true, Start: start}
	}
	temperature := Reading{Name: "temperature", Least: -60, Most: 100, Null: true, Measured: true, Mean: true, Start: 19.5}
	light := Reading{Name: "light", Least: 0, Most: 6, Only: []float64{1, 2, 4, 5, 6}, Null: true, Measured: true, Start: 2}
	action := Reading{Name: "action", Words: []string{"one", "two"}, Null: true}
	return []Thing{
		{Kind: Security, Readings: []Reading{
			{Name: "level", Words: []string{"disarmed", "partial", "armed"}, Start: "disarmed", Changes: []Change{
				level("disarmed", "Alarm disarmed at home", "Alarme désactivée sur place"),
				level("partial", "Alarm partially armed at home", "Alarme activée partiellement sur place"),
				level("armed", "Alarm armed at home", "Alarme activée sur place"),
			}},
			{Name: "alarm", Words: []string{"quiet", "ringing"}, Null: true, Start: "quiet"},
			{Name: "exit_delay_until", Least: 1, Most: momentMax, Null: true, Moment: true},
			{Name: "entry_delay_until", Least: 1, Most: momentMax, Null: true, Moment: true},
		}},
		{Kind: Socket, Model: Model{18, "Prise électrique commandée"}, Readings: []Reading{
			{Name: "on", Null: true, Start: false},
		}},
		{Kind: Shutter, Model: Model{14, "DIO module for shutter"}, Readings: []Reading{
			{Name: "position", Most: 100, Null: true, Slow: true, Start: 0},
			{Name: "moving", Null: true, Start: false},
		}},
		{Kind: Gate, Model: Model{31, "gate"}, Readings: []Reading{action}},
		{Kind: Module, Model: Model{32, "module"}, Readings: []Reading{action}},
		{Kind: Heater, Model: Model{44, "Module chauffage"}, Readings: []Reading{mode, heating("wired")}},
		{Kind: Thermostat, Model: Model{44, "Module chauffage"}, Readings: []Reading{
			modes, heating("boiler"), {Name: "temperature", Least: -60, Most: 100, Null: true, Start: 19.5},
		}},
		{Kind: Temperature, Model: Model{28, "Capteur température"}, Readings: []Reading{temperature}},
		{Kind: Light, Model: Model{27, "Capteur luminosité"}, Readings: []Reading{light}},
		{Kind: Climate, Model: Model{29, "Capteur température & luminosité"}, Readings: []Reading{temperature, light}},
		{Kind: Contact, Model: Model{33, "IntelliTAG"}, Readings: []Reading{
			{Name: "state", Words: []string{"closed", "opened"}, Null: true, Start: "closed", Changes: []Change{
				{"opened", HistoryAccess, Text{"{device}: opened", "{device} : ouverture"}},
				{"closed", HistoryAccess, Text{"{device}: closed", "{device} : fermeture"}},
			}},
		}},
		{Kind: Detector, Model: Model{34, "Détecteur de fumée"}, Readings: []Reading{
			{Name: "state", Most: 1, Only: []float64{0, 1}, Null: true, Start: 0, Changes: []Change{
				{1.0, HistoryAlarm, Text{"{device}: alert", "{device} : alerte"}},
				{0.0, HistoryDiagnosis, Text{"{device}: back to normal", "{device} : retour à la normale"}},
			}},
		}},
	}
}

// ThingOf finds what a kind is, and reports whether a unit can drive one.
func ThingOf(kind Kind) (Thing, bool) {
	things := Things()
	i := slices.IndexFunc(things, func(t Thing) bool { return t.Kind == kind })
	if i < 0 {
		return Thing{}, false
	}
	return things[i], true
}

// Reading finds a reading of the thing by its name.
func (t Thing) Reading(name string) (Reading, bool) {
	i := slices.IndexFunc(t.Readings, func(r Reading) bool { return r.Name == name })
	if i < 0 {
		return Reading{}, false
	}
	return t.Readings[i], true
}

// DeviceKinds lists the kinds that a device can be of: all but the alarm, which is the
// unit itself.
func DeviceKinds() []Kind {
	var kinds []Kind
	for _, thing := range Things() {
		if thing.Kind != Security {
			kinds = append(kinds, thing.Kind)
		}
	}
	return kinds
}

var (
	errReadings = errors.New("readings are not an object")
	errRange    = errors.New("reading out of range")
	errMissing  = errors.New("reading is missing")
)

// Values reads what a unit says of such a thing. What is null or left out is nil. It fails if a
// reading is missing that may not, or is none of the values that it can have. Names
// that the thing does not have are left alone.
func (t Thing) Values(readings json.RawMessage) (map[string]any, error) {
	said, err := decodeReadings(readings)
	if err != nil {
		return nil, err
	}
	values := make(map[string]any, len(t.Readings))
	for _, r := range t.Readings {
		v := said[r.Name]
		switch {
		case v == nil && !r.Null:
			return nil, errMissing
		case v != nil && !r.takes(v):
			return nil, errRange
		}
		values[r.Name] = v
	}
	return values, nil
}

// decodeReadings decodes what a unit says. A number that is too large for one stays what
// it was on the wire, which no reading takes.
func decodeReadings(readings json.RawMessage) (map[string]any, error) {
	var said map[string]any
	err := json.Unmarshal(readings, &said)
	if err == nil && said != nil {
		return said, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(readings, &raw); err != nil || raw == nil {
		return nil, errReadings
	}
	said = make(map[string]any, len(raw))
	for name, text := range raw {
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			v = text
		}
		said[name] = v
	}
	return said, nil
}

// takes reports whether a decoded JSON value that is not null can be one of r.
func (r Reading) takes(v any) bool {
	switch v := v.(type) {
	case string:
		return slices.Contains(r.Words, v)
	case float64:
		return r.Most != 0 && !math.IsNaN(v) && v >= r.Least && v <= r.Most && (len(r.Only) == 0 || slices.Contains(r.Only, v))
	case bool:
		return len(r.Words) == 0 && r.Most == 0
	default:
		return false
	}
}
