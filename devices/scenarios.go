package devices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of scenarios.
const (
	scenariosMax = 100 // of a site
	stepsMax     = 50
	ruleMax      = 4 << 10 // bytes
)

// Scenarios lists the site's scenarios, without their steps.
func (s *Service) Scenarios(ctx context.Context, c Caller, siteID int64) ([]Scenario, error) {
	row, _ := s.table.row(ListScenarios, "", "")
	if err := s.admit(c, siteID, row); err != nil {
		return nil, err
	}
	_, list, err := s.store.Scenarios(ctx, c.UserID, siteID)
	if err != nil {
		return nil, absent(err, "list scenarios of site %d", siteID)
	}
	return list, nil
}

// LastRuns gives of each scenario of the site the last time that it ran by itself, by scenario ID.
func (s *Service) LastRuns(ctx context.Context, c Caller, siteID int64) ([]LastRun, error) {
	row, _ := s.table.row(ListScenarios, "", "")
	if _, err := s.site(ctx, c, siteID, row); err != nil {
		return nil, err
	}
	list, err := s.store.LastRuns(ctx, siteID)
	if err != nil {
		return nil, fmt.Errorf("list last runs of site %d: %w", siteID, err)
	}
	return list, nil
}

// PlayScenario gives the commands of a scenario, one after the other, each with a record
// of its own, and returns what became of each. Whatever its type is, a person may play it. The
// caller's token must be good for each of its operations, or nothing is done. It costs as much
// of the budgets as one command, and one of the alarm if it sets that.
func (s *Service) PlayScenario(ctx context.Context, c Caller, r TogetherRequest) ([]Part, error) {
	row, _ := s.table.row(PlayScenario, "", "play")
	if _, err := keyHash(r.Key); err != nil {
		return nil, err
	}
	site, unit, scenario, err := s.scenario(ctx, c, row, r.SiteID, r.ID)
	if err != nil {
		return nil, err
	}
	if err := s.permitSteps(c, scenario.Steps); err != nil {
		return nil, err
	}
	parts := s.partsOf(site, unit, scenario.Steps)
	spent := []Kind{Scene}
	if slices.ContainsFunc(parts, func(p begunPart) bool { return p.err == nil && p.row.Kind == Security }) {
		spent = append(spent, Security)
	}
	for i, kind := range spent {
		if err := s.spend(ctx, c, kind); err != nil {
			for _, kind := range spent[:i] {
				s.budget.Return(ctx, c, kind)
			}
			return nil, err
		}
	}
	list, err := s.together(ctx, c, parts, r, true, spent...)
	if err != nil {
		return nil, err
	}
	s.tellPlayed(ctx, c, row, site, scenario, list)
	return list, nil
}

// permitSteps refuses a caller whose token is not good for each of the steps. One of a
// device that is gone does nothing.
func (s *Service) permitSteps(c Caller, steps []Step) error {
	for _, step := range steps {
		row, known := s.table.operation(step.Device.Kind, step.Operation)
		if !known {
			continue
		}
		if err := permit(c, row); err != nil {
			return err
		}
	}
	return nil
}

// tellPlayed writes into the history that somebody played a scenario.
func (s *Service) tellPlayed(ctx context.Context, c Caller, row Row, site Site, scenario Scenario, parts []Part) {
	e := Entry{SiteID: site.ID, Type: row.Type, CreatedAt: s.now(), Label: fill(row.Label.In(site.Language), "scenario", scenario.Label, "who", c.who())}
	open := func(p Part) bool { return p.Err == nil && !p.Command.Outcome.Settled() }
	switch {
	case slices.ContainsFunc(parts, func(p Part) bool { return !p.Done() && !open(p) }):
		e.Label = couldNot(site.Language, c, fill(row.Tried.In(site.Language), "scenario", scenario.Label))
	case slices.ContainsFunc(parts, open):
		e.Label += Text{" (not everything is confirmed)", " (tout n’est pas confirmé)"}.In(site.Language)
	}
	if err := s.tell(ctx, e); err != nil {
		// The house has done it, and the answer says what: this must not become a repeat.
		s.log.ErrorContext(ctx, "scenario not written into the history", "scenario", scenario.ID, "err", err)
	}
}

// tell appends entries to histories, also for a caller who has gone away.
func (s *Service) tell(ctx context.Context, entries ...Entry) error {
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	return s.store.Append(write, entries)
}

// SwitchScenario lets a scenario run by itself, or not. The caller's token must be good
// for each of its operations, as to play it: what it will do or leave undone at its time is
// done by whoever enables or disables it. One that only a person plays is refused.
func (s *Service) SwitchScenario(ctx context.Context, c Caller, row Row, siteID, scenarioID int64) error {
	site, _, scenario, err := s.scenario(ctx, c, row, siteID, scenarioID)
	if err != nil {
		return err
	}
	if scenario.Type == OnDemand {
		return &Refusal{Code: WrongType, Text: "A scenario on demand does not run by itself: it can be played only"}
	}
	if err := s.permitSteps(c, scenario.Steps); err != nil {
		return err
	}
	if err := s.spend(ctx, c, Scene); err != nil {
		return err
	}
	var next time.Time
	if rule, err := ParseRule(scenario.Type, scenario.Rule); err == nil && row.Operation == "enable" {
		next = rule.due(scenario.Type, s.now(), zoneOf(site.Timezone))
	}
	_, err = s.store.SwitchScenario(ctx, siteID, scenarioID, row.Operation == "enable", next, Entry{
		Type: row.Type, CreatedAt: s.now(), Label: fill(row.Label.In(site.Language), "scenario", scenario.Label, "who", c.who()),
	})
	if errors.Is(err, ErrNotFound) {
		return noScenario()
	}
	if err != nil {
		return fmt.Errorf("%s scenario %d of site %d: %w", row.Operation, scenarioID, siteID, err)
	}
	s.wake()
	return nil
}

// scenario finds a scenario with which the caller may do what the row is for.
func (s *Service) scenario(ctx context.Context, c Caller, row Row, siteID, scenarioID int64) (Site, Unit, Scenario, error) {
	if err := s.admit(c, siteID, row); err != nil {
		return Site{}, Unit{}, Scenario{}, err
	}
	site, unit, scenario, err := s.store.Scenario(ctx, c.UserID, siteID, scenarioID)
	if errors.Is(err, ErrNoDevice) {
		return Site{}, Unit{}, Scenario{}, noScenario()
	}
	if err != nil {
		return Site{}, Unit{}, Scenario{}, absent(err, "read scenario %d of site %d", scenarioID, siteID)
	}
	return site, unit, scenario, look(site, row)
}

func noScenario() *Refusal { return &Refusal{Code: NoSuch, Text: "Unknown scenario ID"} }

// AddScenario adds a scenario of 1 to 50 steps to a site, for a person who may command
// there: CreatedBy. Of the devices of the steps the ID counts, SecurityDevice for the alarm, and
// the Kind. The steps of a Simulation switch sockets on, ten at the most. A Rule that is nil is
// empty. Bad values are *FieldError.
func (s *Service) AddScenario(ctx context.Context, scenario Scenario) (Scenario, error) {
	if err := checkLabel("label", scenario.Label); err != nil {
		return Scenario{}, err
	}
	if !slices.Contains(ScenarioTypes(), scenario.Type) {
		return Scenario{}, &FieldError{"type", fmt.Sprintf("is not one of %v", ScenarioTypes())}
	}
	if len(scenario.Steps) < 1 || len(scenario.Steps) > stepsMax {
		return Scenario{}, &FieldError{"step", fmt.Sprintf("must be given 1 to %d times", stepsMax)}
	}
	for _, step := range scenario.Steps {
		if _, known := s.table.operation(step.Device.Kind, step.Operation); !known || (step.Device.Kind == Security) != (step.Device.ID == SecurityDevice) {
			return Scenario{}, &FieldError{"step", "is no operation of such a device"}
		}
		if scenario.Type == Simulation && (step.Device.Kind != Socket || step.Operation != "on") {
			return Scenario{}, &FieldError{"step", "of a simulation is not socket/on"}
		}
	}
	if scenario.Type == Simulation && len(devicesOf(scenario.Steps)) > presenceDevices {
		return Scenario{}, &FieldError{"step", fmt.Sprintf("of a simulation is given for more than %d devices", presenceDevices)}
	}
	if scenario.Rule == nil {
		scenario.Rule = json.RawMessage("{}")
	}
	rule, err := ParseRule(scenario.Type, scenario.Rule)
	if err != nil {
		return Scenario{}, err
	}
	site, err := s.creator(ctx, scenario, rule)
	if err != nil {
		return Scenario{}, err
	}
	scenario.CreatedAt, scenario.NextAt = s.now(), time.Time{}
	if scenario.Enabled {
		scenario.NextAt = rule.due(scenario.Type, scenario.CreatedAt, zoneOf(site.Timezone))
	}
	added, err := s.store.AddScenario(ctx, scenario, scenariosMax,
		s.configured(site.Language, Text{"Scenario “{scenario}” added", "Scénario « {scenario} » ajouté"}, "scenario", scenario.Label))
	switch {
	case errors.Is(err, ErrNotFound):
		return Scenario{}, noSuchSite()
	case errors.Is(err, ErrNoDevice):
		return Scenario{}, &FieldError{"step", "names a device that the site does not have"}
	case errors.Is(err, ErrFull):
		return Scenario{}, &FieldError{"site", fmt.Sprintf("has %d scenarios, which is all there may be", scenariosMax)}
	case err != nil:
		return Scenario{}, fmt.Errorf("add scenario to site %d: %w", scenario.SiteID, err)
	}
	s.wake()
	return added, nil
}

// creator finds the site of a new scenario as the person for whom it runs does, who must be
// allowed to command there, and the device that its rule names.
func (s *Service) creator(ctx context.Context, scenario Scenario, rule Rule) (Site, error) {
	site, err := s.store.Site(ctx, scenario.CreatedBy, scenario.SiteID)
	switch {
	case errors.Is(err, ErrNotFound):
		return Site{}, noSuchSite()
	case err != nil:
		return Site{}, fmt.Errorf("read site %d: %w", scenario.SiteID, err)
	case site.Role == Guest:
		return Site{}, &FieldError{"owner", "is a guest of the home, who may only look"}
	case rule.Device == nil || *rule.Device == SecurityDevice:
		return site, nil
	}
	_, _, err = s.store.Device(ctx, scenario.CreatedBy, scenario.SiteID, *rule.Device, DeviceKinds())
	if errors.Is(err, ErrNoDevice) {
		return Site{}, &FieldError{"rule", "names a device that the site does not have"}
	}
	if err != nil {
		return Site{}, fmt.Errorf("find device %d of site %d: %w", *rule.Device, scenario.SiteID, err)
	}
	return site, nil
}

// RemoveScenario removes a scenario. One that is unknown is a *FieldError.
func (s *Service) RemoveScenario(ctx context.Context, siteID, scenarioID int64) error {
	language, err := s.languageOf(ctx, siteID)
	if err != nil {
		return err
	}
	err = s.store.RemoveScenario(ctx, siteID, scenarioID, s.configured(language, Text{"A scenario was removed", "Un scénario a été supprimé"}))
	if errors.Is(err, ErrNotFound) {
		return &FieldError{"scenario", "is not known at the site"}
	}
	if err != nil {
		return fmt.Errorf("remove scenario %d of site %d: %w", scenarioID, siteID, err)
	}
	return nil
}
