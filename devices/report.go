package devices

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what a unit may say.
const (
	readingsMax = 4 << 10 // bytes of a JSON object
	textMax     = 200     // bytes of a reason or an event's sentence
	firmwareMax = 64      // bytes
	eventIDMax  = 64      // bytes
)

// Acknowledge takes in a unit's answer to an order: the outcome, the device's
// state and the history entry are written together, then whoever waits is told. A
// repeated answer changes nothing and is no error. An answer to a command that is not this
// unit's is *Rejected.
func (s *Service) Acknowledge(ctx context.Context, unitID string, a Ack) error {
	if a.Outcome != Done && a.Outcome != Refused {
		return &Rejected{Reason: "acknowledgement without outcome"}
	}
	command, offset, err := s.ordered(ctx, unitID, a.CommandID)
	if err != nil {
		return err
	}
	f := Finish{
		CommandID: command.ID, UnitID: unitID, From: []Outcome{Pending, Unknown},
		Outcome: a.Outcome, Reason: plain(a.Reason), Now: s.now(),
	}
	if a.State != nil {
		state, _, err := s.stateFrom(*a.State, command.Kind, command.DeviceID, offset)
		if err != nil {
			return err
		}
		f.State = &state
	}
	command.Outcome, command.Reason, command.FinishedAt = f.Outcome, f.Reason, f.Now
	if row, known := s.table.operation(command.Kind, command.Operation); known && a.Outcome == Done {
		f.Entry = &Entry{SiteID: command.SiteID, Type: row.Type, Label: command.Label, CreatedAt: f.Now}
	} else if a.Outcome == Refused {
		f.Entry = failed(command)
	}
	stands, err := s.store.Finish(ctx, f)
	switch {
	case errors.Is(err, ErrSettled):
		s.land(stands)
		return nil
	case errors.Is(err, ErrNotFound):
		return &Rejected{Reason: "acknowledgement of no command of this unit"}
	case err != nil:
		return fmt.Errorf("write outcome of command %s: %w", command.ID, err)
	}
	s.observer.CommandFinished(string(stands.Kind), stands.Operation, string(stands.Outcome))
	s.observer.CommandAcknowledged(string(stands.Kind), stands.Operation, f.Now.Sub(stands.AcceptedAt))
	s.land(stands)
	return nil
}

func (s *Service) land(c Command) {
	if f := s.flights.find(c.ID); f != nil {
		f.land(c)
	}
}

// ordered finds the command that a unit answers, and how far its clock is ahead: from
// the flight if it was sent here, else from the record.
func (s *Service) ordered(ctx context.Context, unitID, commandID string) (Command, time.Duration, error) {
	stranger := &Rejected{Reason: "acknowledgement of no command of this unit"}
	if f := s.flights.find(commandID); f != nil {
		if command, offset, sent := f.sent(); sent {
			if command.UnitID != unitID {
				return Command{}, 0, stranger
			}
			return command, offset, nil
		}
	}
	unit, err := s.unit(ctx, unitID)
	if err != nil {
		return Command{}, 0, err
	}
	command, err := s.recorded(ctx, unit.SiteID, commandID)
	if errors.Is(err, ErrNotFound) || err == nil && command.UnitID != unitID {
		return Command{}, 0, stranger
	}
	if err != nil {
		return Command{}, 0, fmt.Errorf("read command %s: %w", commandID, err)
	}
	return command, unit.Link.ClockOffset, nil
}

// ReportState takes in what a unit says of one of its devices, with what it measured and
// what the history says of the change. An old sequence changes nothing and is no error. A
// device that is not the unit's, or readings that cannot be, are *Rejected.
func (s *Service) ReportState(ctx context.Context, unitID string, r StateReport) error {
	const foreign = "state of no device of this unit"
	from, err := s.source(ctx, unitID, r.DeviceID, foreign)
	if err != nil {
		return err
	}
	state, values, err := s.stateFrom(r, kindOf(from.Device), r.DeviceID, from.Unit.Link.ClockOffset)
	if err != nil {
		return err
	}
	if state.Sequence <= from.State.Sequence {
		return nil
	}
	_, err = s.store.SaveState(ctx, unitID, s.report(from, state, values))
	if errors.Is(err, ErrNotFound) {
		return &Rejected{Reason: foreign}
	}
	if err != nil {
		return fmt.Errorf("save state of device %d of unit %s: %w", r.DeviceID, unitID, err)
	}
	return nil
}

func (s *Service) stateFrom(r StateReport, kind Kind, deviceID int64, offset time.Duration) (State, map[string]any, error) {
	if r.Sequence < 1 {
		return State{}, nil, &Rejected{Reason: "state without a sequence"}
	}
	if len(r.Readings) > readingsMax || !utf8.Valid(r.Readings) {
		return State{}, nil, &Rejected{Reason: "readings are not an object of at most 4 KiB"}
	}
	values, err := s.table.things[kind].Values(r.Readings)
	switch {
	case errors.Is(err, errReadings):
		return State{}, nil, &Rejected{Reason: "readings are not an object of at most 4 KiB"}
	case err != nil:
		return State{}, nil, &Rejected{Reason: err.Error()}
	}
	return State{DeviceID: deviceID, Sequence: r.Sequence, Time: s.corrected(r.Time, offset), Readings: r.Readings}, values, nil
}

// corrected turns a unit's time into ours. Nothing that was reported lies in the future.
func (s *Service) corrected(t time.Time, offset time.Duration) time.Time {
	now := s.now()
	if ours := t.Add(-offset); ours.Before(now) {
		return ours
	}
	return now
}

// historyOf gives the type of history entry that an event becomes, and its sentence
// where the unit gives none.
func historyOf(e EventType) (HistoryType, Text, bool) {
	switch e {
	case EventAlarm:
		return HistoryAlarm, Text{"Alarm: the siren sounds", "Alarme : la sirène retentit"}, true
	case EventTamper:
		return HistoryAlarm, Text{"A device was tampered with", "Un appareil a été forcé"}, true
	case EventBattery:
		return HistoryDiagnosis, Text{"A battery runs low", "Une pile est faible"}, true
	case EventAccess:
		return HistoryAccess, Text{"Somebody came or went", "Quelqu’un est arrivé ou parti"}, true
	default:
		return "", Text{}, false
	}
}

// ReportEvent appends what happened in the house to the site's history. An event
// whose ID is there already changes nothing and is no error. An unknown type, or an ID
// that is none, is *Rejected.
func (s *Service) ReportEvent(ctx context.Context, unitID string, r EventReport) error {
	kind, label, known := historyOf(r.Type)
	if !known {
		return &Rejected{Reason: "event of unknown type"}
	}
	if r.ID == "" || len(r.ID) > eventIDMax || plain(r.ID) != r.ID {
		return &Rejected{Reason: "event without an id of at most 64 bytes"}
	}
	from, err := s.source(ctx, unitID, r.DeviceID, "event of no device of this unit")
	if err != nil {
		return err
	}
	sentence := label.In(from.Site.Language)
	if r.DeviceID != SecurityDevice {
		sentence = from.Device.Label + colon().In(from.Site.Language) + sentence
	}
	if text := plain(r.Text); text != "" {
		sentence = text
	}
	at := s.corrected(r.Time, from.Unit.Link.ClockOffset)
	triggered, err := s.triggered(ctx, from, r, at)
	if err != nil {
		return err
	}
	_, err = s.store.SaveEvent(ctx, unitID, r.ID, Entry{SiteID: from.Site.ID, Type: kind, Label: sentence, CreatedAt: at}, triggered...)
	if err != nil {
		return fmt.Errorf("save event of unit %s: %w", unitID, err)
	}
	if len(triggered) > 0 {
		s.wake()
	}
	return nil
}

// ReportLink takes in that a unit came or went. That it went counts only for the
// session in which it last came: a last will that comes late changes nothing.
func (s *Service) ReportLink(ctx context.Context, unitID string, r LinkReport) error {
	if r.Session == "" || len(r.Session) > 64 || plain(r.Session) != r.Session {
		return &Rejected{Reason: "link without a session of at most 64 bytes"}
	}
	now := s.now()
	link := Link{Online: r.Online, Session: r.Session, At: now}
	if r.Online {
		if r.Clock.IsZero() {
			return &Rejected{Reason: "link without a clock"}
		}
		link.Firmware = cut(plain(r.Firmware), firmwareMax)
		link.Catalogue = r.Catalogue
		link.ClockOffset = r.Clock.Sub(now).Round(time.Millisecond)
	}
	before, stands, err := s.store.SaveLink(ctx, unitID, link, r.Retained)
	if errors.Is(err, ErrNotFound) {
		return &Rejected{Reason: "unknown unit"}
	}
	if err != nil {
		return fmt.Errorf("save link of unit %s: %w", unitID, err)
	}
	before.At, stands.At = time.Time{}, time.Time{}
	if before != stands {
		s.log.InfoContext(ctx, "unit link", "unit", unitID, "online", stands.Online, "firmware", stands.Firmware, "clock_offset", stands.ClockOffset)
	}
	if before.Online == stands.Online {
		return nil
	}
	return s.tellLink(ctx, unitID, stands.Online, now)
}

// tellLink writes into the history that a unit came or went: once a minute at the most,
// whatever its connection does.
func (s *Service) tellLink(ctx context.Context, unitID string, online bool, now time.Time) error {
	word, label := "offline", Text{"The unit is no longer connected", "Le boîtier n’est plus connecté"}
	if online {
		word, label = "online", Text{"The unit is connected", "Le boîtier est connecté"}
	}
	from, err := s.source(ctx, unitID, SecurityDevice, "")
	if err != nil {
		return err
	}
	id := fmt.Sprintf("\tlink %s %d", word, now.Unix()/60) // no unit's own: that has no control character
	_, err = s.store.SaveEvent(ctx, unitID, id, Entry{
		SiteID: from.Site.ID, Type: HistoryDiagnosis, Label: label.In(from.Site.Language), CreatedAt: now,
	})
	if err != nil {
		return fmt.Errorf("save link of unit %s in the history: %w", unitID, err)
	}
	return nil
}

func (s *Service) unit(ctx context.Context, id string) (Unit, error) {
	unit, err := s.store.Unit(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return Unit{}, &Rejected{Reason: "unknown unit"}
	}
	if err != nil {
		return Unit{}, fmt.Errorf("read unit %s: %w", id, err)
	}
	return unit, nil
}

// plain makes a unit's words fit for a record: valid UTF-8 without control characters
// and others that nobody sees, cut to textMax. So no sentence of a history is read in
// another order than it was written, or has lines of its own.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if isUnseen(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return cut(s, textMax)
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
