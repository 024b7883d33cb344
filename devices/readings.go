package devices

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of what is asked for.
const (
	measurementMax  = 100                // measurements of one answer
	measurementWeek = 7 * 24 * time.Hour // before dateTo, if dateFrom is not given
	openWindow      = 2 * time.Minute    // in which a command is taken for the reason of a change
)

// MeasurementQuery asks for a part of what a device measured. A zero To is now, a zero From
// is a week before To.
type MeasurementQuery struct {
	From, To  time.Time
	Ascending bool
}

// Measurements lists what a device measured, 100 values at the most. The row is one that
// reads measurements.
func (s *Service) Measurements(ctx context.Context, c Caller, row Row, siteID, deviceID int64, q MeasurementQuery) ([]Measurement, error) {
	if err := s.admit(c, siteID, row); err != nil {
		return nil, err
	}
	name := row.Fields[0].Reading
	reading, _ := s.table.things[row.Kind].Reading(name)
	f := MeasurementFilter{Reading: name, Mean: reading.Mean, From: q.From, To: q.To, Ascending: q.Ascending, Limit: measurementMax}
	if f.To.IsZero() {
		f.To = s.now()
	}
	if f.From.IsZero() {
		f.From = f.To.Add(-measurementWeek)
	}
	if f.From.After(f.To) {
		return nil, &Refusal{Code: BadFilter, Text: "dateFrom is after dateTo"}
	}
	_, list, err := s.store.Measurements(ctx, c.UserID, siteID, deviceID, row.Kinds(), f)
	if err != nil {
		return nil, absent(err, "read measurements of device %d of site %d", deviceID, siteID)
	}
	return list, nil
}

// Device reads what was last reported of a device. The row is one that reads a device.
func (s *Service) Device(ctx context.Context, c Caller, row Row, siteID, deviceID int64) (Reported, error) {
	if err := s.admit(c, siteID, row); err != nil {
		return Reported{}, err
	}
	_, reported, err := s.store.Device(ctx, c.UserID, siteID, deviceID, row.Kinds())
	if err != nil {
		return Reported{}, absent(err, "read device %d of site %d", deviceID, siteID)
	}
	return reported, nil
}

// Values gives the readings of the device, which is such a thing, that the row's fields say,
// by their name, as decoded JSON, and for each when it was taken or since when it is null.
func (r Reported) Values(thing Thing, fields []Field) (values map[string]any, at map[string]time.Time) {
	at = make(map[string]time.Time, len(fields))
	if r.State.Sequence > 0 {
		values, _ = thing.Values(r.State.Readings) // what was taken in can be read
	}
	for _, f := range fields {
		switch since, null := r.State.Since[f.Reading]; {
		case r.State.Sequence == 0:
			at[f.Reading] = r.CreatedAt
		case values[f.Reading] == nil && null:
			at[f.Reading] = since
		default:
			at[f.Reading] = r.State.Time
		}
	}
	return values, at
}

// report judges what a unit says of a thing, and finds what comes with it.
func (s *Service) report(from Source, state State, values map[string]any) Report {
	r := Report{
		State: state, Previous: from.State.Sequence, Slot: state.Time.Truncate(s.keep.Interval),
		CommandSince: s.now().Add(-openWindow), Measured: map[string]float64{},
	}
	thing := s.table.things[kindOf(from.Device)]
	var before map[string]any
	if from.State.Sequence > 0 {
		before, _ = thing.Values(from.State.Readings)
	}
	r.State.Since = since(thing, from.State, values, before, state.Time)
	for _, reading := range thing.Readings {
		value := values[reading.Name]
		if number, is := value.(float64); is && reading.Measured {
			r.Measured[reading.Name] = number
		}
		if before == nil || before[reading.Name] == value || before[reading.Name] == nil {
			continue
		}
		for _, change := range reading.Changes {
			if change.Value == value {
				r.Entries = append(r.Entries, Entry{
					SiteID: from.Site.ID, Type: change.Type, CreatedAt: state.Time,
					Label: fill(change.Label.In(from.Site.Language), "device", from.Device.Label),
				})
			}
		}
	}
	return r
}

// since tells of each reading that is null since when it is.
func since(thing Thing, stood State, values, before map[string]any, now time.Time) map[string]time.Time {
	var times map[string]time.Time
	for _, reading := range thing.Readings {
		if !reading.Null || values[reading.Name] != nil {
			continue
		}
		at := now.Truncate(time.Millisecond)
		if earlier, known := stood.Since[reading.Name]; known && before != nil && before[reading.Name] == nil {
			at = earlier
		}
		if times == nil {
			times = map[string]time.Time{}
		}
		times[reading.Name] = at
	}
	return times
}

// kindOf tells what a source's device is: without a kind it is the alarm.
func kindOf(d Device) Kind {
	if d.Kind == "" {
		return Security
	}
	return d.Kind
}

// source finds where a report of a unit comes from.
func (s *Service) source(ctx context.Context, unitID string, deviceID int64, foreign string) (Source, error) {
	from, err := s.store.Source(ctx, unitID, deviceID)
	switch {
	case errors.Is(err, ErrNotFound):
		return Source{}, &Rejected{Reason: "unknown unit"}
	case errors.Is(err, ErrNoDevice):
		return Source{}, &Rejected{Reason: foreign}
	case err != nil:
		return Source{}, fmt.Errorf("read device %d of unit %s: %w", deviceID, unitID, err)
	}
	return from, nil
}
