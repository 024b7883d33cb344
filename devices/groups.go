package devices

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Bounds of groups.
const (
	groupsMax       = 100 // of a site
	groupDevicesMax = 100
)

// Groups lists the site's groups that the row lists, with their devices.
func (s *Service) Groups(ctx context.Context, c Caller, row Row, siteID int64) ([]Group, error) {
	if err := s.admit(c, siteID, row); err != nil {
		return nil, err
	}
	_, list, err := s.store.Groups(ctx, c.UserID, siteID, row.Kind)
	if err != nil {
		return nil, absent(err, "list groups of site %d", siteID)
	}
	return list, nil
}

// ExecuteGroup gives one command to each device of a group, side by side, each with a record
// of its own, and returns what became of each, by device ID. The row is one that operates a
// group. It costs as much of the budget as one command.
func (s *Service) ExecuteGroup(ctx context.Context, c Caller, row Row, r TogetherRequest) ([]Part, error) {
	if err := s.admit(c, r.SiteID, row); err != nil {
		return nil, err
	}
	if _, err := keyHash(r.Key); err != nil {
		return nil, err
	}
	site, unit, group, err := s.store.Group(ctx, c.UserID, r.SiteID, r.ID, row.Kind)
	if errors.Is(err, ErrNoDevice) {
		return nil, &Refusal{Code: NoSuch, Text: "Unknown group ID"}
	}
	if err != nil {
		return nil, absent(err, "find group %d of site %d", r.ID, r.SiteID)
	}
	if err := look(site, row); err != nil {
		return nil, err
	}
	if err := s.spend(ctx, c, row.Kind); err != nil {
		return nil, err
	}
	operation, _ := s.table.operation(row.Kind, row.Operation)
	parts := make([]begunPart, len(group.Devices))
	for i, device := range group.Devices {
		parts[i] = begunPart{row: operation, target: Target{Site: site, Unit: unit, Device: device}}
	}
	return s.together(ctx, c, parts, r, false, row.Kind)
}

// GroupKinds lists the kinds of device of which there can be groups.
func GroupKinds() []Kind {
	var kinds []Kind
	for _, row := range Catalogue() {
		if row.Action == ListGroups && !row.Legacy {
			kinds = append(kinds, row.Kind)
		}
	}
	return kinds
}

// AddGroup makes a group of 1 to 100 devices of one kind at a site. Bad values are
// *FieldError.
func (s *Service) AddGroup(ctx context.Context, siteID int64, kind Kind, label string, deviceIDs []int64) (Group, error) {
	if err := checkLabel("label", label); err != nil {
		return Group{}, err
	}
	if !slices.Contains(GroupKinds(), kind) {
		return Group{}, &FieldError{"kind", fmt.Sprintf("is not one of %v", GroupKinds())}
	}
	ids := slices.Clone(deviceIDs)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) < 1 || len(ids) > groupDevicesMax {
		return Group{}, &FieldError{"device", fmt.Sprintf("must be given 1 to %d times", groupDevicesMax)}
	}
	g := Group{SiteID: siteID, Kind: kind, Label: label, CreatedAt: s.now()}
	for _, id := range ids {
		g.Devices = append(g.Devices, Device{ID: id})
	}
	language, err := s.languageOf(ctx, siteID)
	if err != nil {
		return Group{}, err
	}
	added, err := s.store.AddGroup(ctx, g, groupsMax, s.configured(language, Text{"Group “{group}” added", "Groupe « {group} » ajouté"}, "group", label))
	switch {
	case errors.Is(err, ErrNotFound):
		return Group{}, noSuchSite()
	case errors.Is(err, ErrNoDevice):
		return Group{}, &FieldError{"device", fmt.Sprintf("is no %s of the site", kind)}
	case errors.Is(err, ErrFull):
		return Group{}, &FieldError{"site", fmt.Sprintf("has %d groups, which is all there may be", groupsMax)}
	case err != nil:
		return Group{}, fmt.Errorf("add group to site %d: %w", siteID, err)
	}
	return added, nil
}

// RemoveGroup removes a group. One that is unknown is a *FieldError.
func (s *Service) RemoveGroup(ctx context.Context, siteID, groupID int64) error {
	language, err := s.languageOf(ctx, siteID)
	if err != nil {
		return err
	}
	err = s.store.RemoveGroup(ctx, siteID, groupID, s.configured(language, Text{"A group was removed", "Un groupe a été supprimé"}))
	if errors.Is(err, ErrNotFound) {
		return &FieldError{"group", "is not known at the site"}
	}
	if err != nil {
		return fmt.Errorf("remove group %d of site %d: %w", groupID, siteID, err)
	}
	return nil
}

func noSuchSite() *FieldError { return &FieldError{"site", "is not known"} }

// configured is an entry about what a site consists of.
func (s *Service) configured(l Language, label Text, values ...string) Entry {
	return Entry{Type: HistoryConfig, Label: fill(label.In(l), values...), CreatedAt: s.now()}
}

// languageOf asks for a site's language as its first owner would.
func (s *Service) languageOf(ctx context.Context, siteID int64) (Language, error) {
	site, err := s.asOwner(ctx, siteID)
	return site.Language, err
}

// asOwner finds a site as its first owner does. One that is unknown is a *FieldError.
func (s *Service) asOwner(ctx context.Context, siteID int64) (Site, error) {
	members, err := s.store.Members(ctx, siteID)
	if err != nil {
		return Site{}, fmt.Errorf("list members of site %d: %w", siteID, err)
	}
	i := slices.IndexFunc(members, func(m Membership) bool { return m.Role == Owner })
	if i < 0 {
		return Site{}, noSuchSite()
	}
	site, err := s.store.Site(ctx, members[i].UserID, siteID)
	if errors.Is(err, ErrNotFound) {
		return Site{}, noSuchSite()
	}
	if err != nil {
		return Site{}, fmt.Errorf("read site %d: %w", siteID, err)
	}
	return site, nil
}
