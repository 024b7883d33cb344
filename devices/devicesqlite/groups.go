package devicesqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// drawID gives the next number of the sequence that devices, groups and scenarios share.
func drawID(ctx context.Context, tx *sql.Tx) (id int64, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE thing_ids SET last = last + 1 RETURNING last`).Scan(&id)
	return id, err
}

// room checks that the site is there and that fewer than most rows of the table are its own.
func room(ctx context.Context, tx *sql.Tx, table string, siteID int64, most int) error {
	var n int
	query := `SELECT (SELECT count(*) FROM ` + table + ` WHERE site_id = s.id) FROM sites s WHERE s.id = ?`
	if err := tx.QueryRowContext(ctx, query, siteID).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return devices.ErrFull
	}
	return nil
}

// AddGroup is documented at devices.Store.
func (s *Store) AddGroup(ctx context.Context, g devices.Group, most int, e devices.Entry) (devices.Group, error) {
	const insert = `INSERT INTO device_groups (id, site_id, kind, label, created_at) VALUES (?, ?, ?, ?, ?)`
	const member = `INSERT INTO device_group_members (group_id, device_id) VALUES (?, ?)`
	const device = `SELECT ` + deviceColumns + ` FROM devices d WHERE d.id = ? AND d.site_id = ? AND d.kind = ?`
	var added devices.Group
	err := s.db.Write(ctx, siteKey(g.SiteID), func(ctx context.Context, tx *sql.Tx) error {
		added = devices.Group{SiteID: g.SiteID, Kind: g.Kind, Label: g.Label, CreatedAt: stored(g.CreatedAt)}
		if err := room(ctx, tx, "device_groups", g.SiteID, most); err != nil {
			return err
		}
		var err error
		if added.ID, err = drawID(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insert, added.ID, g.SiteID, string(g.Kind), g.Label, micros(g.CreatedAt)); err != nil {
			return err
		}
		for _, d := range g.Devices {
			var found deviceScan
			err := tx.QueryRowContext(ctx, device, d.ID, g.SiteID, string(g.Kind)).Scan(found.into()...)
			if err := orNoDevice(err); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, member, added.ID, d.ID); err != nil {
				return err
			}
			added.Devices = append(added.Devices, found.device(g.SiteID))
		}
		return insertEntry(ctx, tx, g.SiteID, e)
	})
	if err != nil {
		return devices.Group{}, wrap(ctx, err, "add group to site %d", g.SiteID)
	}
	return added, nil
}

// orNoDevice turns the error of a device's row that is not there.
func orNoDevice(err error) error {
	if err == sql.ErrNoRows { //nolint:errorlint // as Scan gives it
		return devices.ErrNoDevice
	}
	return err
}

const groupColumns = `coalesce(g.id, 0), coalesce(g.kind, ''), coalesce(g.label, ''), coalesce(g.created_at, 0)`

// groupScan takes groupColumns up, and the device after them.
type groupScan struct {
	devices.Group
	createdAt int64
	device    deviceScan
}

func (g *groupScan) into() []any {
	return append([]any{&g.ID, (*string)(&g.Kind), &g.Label, &g.createdAt}, g.device.into()...)
}

// gather puts rows of a group and one of its devices each together.
func gather(siteID int64, rows []groupScan) []devices.Group {
	var list []devices.Group
	for _, row := range rows {
		if row.ID == 0 {
			continue
		}
		if len(list) == 0 || list[len(list)-1].ID != row.ID {
			row.SiteID, row.CreatedAt = siteID, utc(row.createdAt)
			list = append(list, row.Group)
		}
		last := &list[len(list)-1]
		last.Devices = append(last.Devices, row.device.device(siteID))
	}
	return list
}

// Groups is documented at devices.Store.
func (s *Store) Groups(ctx context.Context, userID, siteID int64, kind devices.Kind) (devices.Site, []devices.Group, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + groupColumns + `, ` + deviceColumns + `
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN device_groups g ON g.site_id = s.id AND (?3 = '' OR g.kind = ?3)
		LEFT JOIN device_group_members gm ON gm.group_id = g.id
		LEFT JOIN devices d ON d.id = gm.device_id
		WHERE m.user_id = ?1 AND m.site_id = ?2
		ORDER BY g.id, d.id`
	rows, err := s.db.Read().QueryContext(ctx, query, userID, siteID, string(kind))
	var site devices.Site
	list, err := collect(rows, err, func(row row) (g groupScan, err error) {
		site, err = scanSite(row, g.into()...)
		return g, err
	})
	if err == nil && len(list) == 0 {
		err = devices.ErrNotFound
	}
	if err != nil {
		return devices.Site{}, nil, wrap(ctx, err, "list groups of site %d", siteID)
	}
	return site, gather(siteID, list), nil
}

// Group is documented at devices.Store.
func (s *Store) Group(ctx context.Context, userID, siteID, groupID int64, kind devices.Kind) (devices.Site, devices.Unit, devices.Group, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + joinedUnit + `, ` + groupColumns + `, ` + deviceColumns + `
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN units u ON u.site_id = s.id
		LEFT JOIN device_groups g ON g.site_id = s.id AND g.id = ?3 AND g.kind = ?4
		LEFT JOIN device_group_members gm ON gm.group_id = g.id
		LEFT JOIN devices d ON d.id = gm.device_id
		WHERE m.user_id = ?1 AND m.site_id = ?2
		ORDER BY d.id`
	rows, err := s.db.Read().QueryContext(ctx, query, userID, siteID, groupID, string(kind))
	var site devices.Site
	var unit unitScan
	list, err := collect(rows, err, func(row row) (g groupScan, err error) {
		unit = unitScan{}
		site, err = scanSite(row, append(unit.into(), g.into()...)...)
		return g, err
	})
	groups := gather(siteID, list)
	switch {
	case err == nil && len(list) == 0:
		err = devices.ErrNotFound
	case err == nil && len(groups) == 0:
		err = devices.ErrNoDevice
	}
	if err != nil {
		return devices.Site{}, devices.Unit{}, devices.Group{}, wrap(ctx, err, "read group %d of site %d", groupID, siteID)
	}
	return site, unit.unit(siteID), groups[0], nil
}

// RemoveGroup is documented at devices.Store.
func (s *Store) RemoveGroup(ctx context.Context, siteID, groupID int64, e devices.Entry) error {
	const remove = `DELETE FROM device_groups WHERE id = ? AND site_id = ? RETURNING id`
	return wrap(ctx, s.change(ctx, siteID, e, remove, groupID, siteID), "remove group %d of site %d", groupID, siteID)
}

// change runs a statement that returns a number if it found what to change, and appends
// an entry to the site's history then; else it is devices.ErrNotFound.
func (s *Store) change(ctx context.Context, siteID int64, e devices.Entry, statement string, args ...any) error {
	return s.db.Write(ctx, siteKey(siteID), func(ctx context.Context, tx *sql.Tx) error {
		var changed int64
		if err := tx.QueryRowContext(ctx, statement, args...).Scan(&changed); err != nil {
			return err
		}
		return insertEntry(ctx, tx, siteID, e)
	})
}

// AddScenario is documented at devices.Store.
func (s *Store) AddScenario(ctx context.Context, c devices.Scenario, most int, e devices.Entry) (devices.Scenario, error) {
	const insert = `
		INSERT INTO scenarios (id, site_id, label, type, enabled, rule, created_by, next_at, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
	const step = `INSERT INTO scenario_steps (scenario_id, position, device_id, operation) VALUES (?, ?, ?, ?)`
	const device = `SELECT ` + deviceColumns + ` FROM devices d WHERE d.id = ? AND d.site_id = ? AND d.kind = ?`
	var added devices.Scenario
	err := s.db.Write(ctx, siteKey(c.SiteID), func(ctx context.Context, tx *sql.Tx) error {
		added = c
		added.CreatedAt, added.NextAt, added.Steps = stored(c.CreatedAt), utcOrZero(microsOrNull(c.NextAt)), nil
		if err := room(ctx, tx, "scenarios", c.SiteID, most); err != nil {
			return err
		}
		var err error
		if added.ID, err = drawID(ctx, tx); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, insert, added.ID, c.SiteID, c.Label, string(c.Type), c.Enabled, string(c.Rule), c.CreatedBy,
			microsOrNull(c.NextAt), micros(c.CreatedAt))
		if err != nil {
			return err
		}
		for i, st := range c.Steps {
			found := devices.Device{SiteID: c.SiteID, Kind: st.Device.Kind}
			if st.Device.ID != devices.SecurityDevice {
				var scan deviceScan
				err := tx.QueryRowContext(ctx, device, st.Device.ID, c.SiteID, string(st.Device.Kind)).Scan(scan.into()...)
				if err := orNoDevice(err); err != nil {
					return err
				}
				found = scan.device(c.SiteID)
			}
			if _, err := tx.ExecContext(ctx, step, added.ID, i, st.Device.ID, st.Operation); err != nil {
				return err
			}
			added.Steps = append(added.Steps, devices.Step{Device: found, Operation: st.Operation})
		}
		return insertEntry(ctx, tx, c.SiteID, e)
	})
	if err != nil {
		return devices.Scenario{}, wrap(ctx, err, "add scenario to site %d", c.SiteID)
	}
	return added, nil
}

const scenarioColumns = `coalesce(c.id, 0), coalesce(c.label, ''), coalesce(c.type, ''), coalesce(c.enabled, 0), coalesce(c.rule, ''),
	coalesce(c.created_by, 0), c.next_at, coalesce(c.created_at, 0)`

// scenarioScan takes scenarioColumns up.
type scenarioScan struct {
	devices.Scenario
	rule      string
	nextAt    sql.NullInt64
	createdAt int64
}

func (c *scenarioScan) into() []any {
	return []any{&c.ID, &c.Label, (*string)(&c.Type), &c.Enabled, &c.rule, &c.CreatedBy, &c.nextAt, &c.createdAt}
}

func (c *scenarioScan) scenario(siteID int64) devices.Scenario {
	c.SiteID, c.Rule, c.NextAt, c.CreatedAt = siteID, json.RawMessage(c.rule), utcOrZero(c.nextAt), utc(c.createdAt)
	return c.Scenario
}

// Scenarios is documented at devices.Store.
func (s *Store) Scenarios(ctx context.Context, userID, siteID int64) (devices.Site, []devices.Scenario, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + scenarioColumns + `
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN scenarios c ON c.site_id = s.id
		WHERE m.user_id = ?1 AND m.site_id = ?2
		ORDER BY c.id`
	rows, err := s.db.Read().QueryContext(ctx, query, userID, siteID)
	var site devices.Site
	list, err := collect(rows, err, func(row row) (devices.Scenario, error) {
		var c scenarioScan
		var err error
		site, err = scanSite(row, c.into()...)
		return c.scenario(siteID), err
	})
	switch {
	case err == nil && len(list) == 0:
		err = devices.ErrNotFound
	case err == nil && list[0].ID == 0:
		list = nil
	}
	if err != nil {
		return devices.Site{}, nil, wrap(ctx, err, "list scenarios of site %d", siteID)
	}
	return site, list, nil
}

// Scenario is documented at devices.Store.
func (s *Store) Scenario(ctx context.Context, userID, siteID, scenarioID int64) (devices.Site, devices.Unit, devices.Scenario, error) {
	const query = `
		SELECT ` + siteColumns + `, ` + joinedUnit + `, ` + scenarioColumns + `,
			coalesce(p.device_id, 0), coalesce(p.operation, ''), ` + deviceColumns + `
		FROM site_members m JOIN sites s ON s.id = m.site_id
		LEFT JOIN units u ON u.site_id = s.id
		LEFT JOIN scenarios c ON c.site_id = s.id AND c.id = ?3
		LEFT JOIN scenario_steps p ON p.scenario_id = c.id
		LEFT JOIN devices d ON d.id = p.device_id
		WHERE m.user_id = ?1 AND m.site_id = ?2
		ORDER BY p.position`
	rows, err := s.db.Read().QueryContext(ctx, query, userID, siteID, scenarioID)
	var (
		site devices.Site
		unit unitScan
		c    scenarioScan
	)
	steps, err := collect(rows, err, func(row row) (step devices.Step, err error) {
		var device deviceScan
		var deviceID int64
		unit, c = unitScan{}, scenarioScan{}
		into := append(append(unit.into(), c.into()...), &deviceID, &step.Operation)
		site, err = scanSite(row, append(into, device.into()...)...)
		step.Device = device.device(siteID)
		step.Device.ID = deviceID // also if it is gone
		if deviceID == devices.SecurityDevice {
			step.Device = devices.Device{SiteID: siteID, UnitID: unit.id.String, Kind: devices.Security}
		}
		return step, err
	})
	switch {
	case err == nil && len(steps) == 0:
		err = devices.ErrNotFound
	case err == nil && c.ID == 0:
		err = devices.ErrNoDevice
	}
	if err != nil {
		return devices.Site{}, devices.Unit{}, devices.Scenario{}, wrap(ctx, err, "read scenario %d of site %d", scenarioID, siteID)
	}
	scenario := c.scenario(siteID)
	scenario.Steps = steps
	return site, unit.unit(siteID), scenario, nil
}

// SwitchScenario is documented at devices.Store.
func (s *Store) SwitchScenario(ctx context.Context, siteID, scenarioID int64, enabled bool, next time.Time, e devices.Entry) (bool, error) {
	const query = `SELECT enabled FROM scenarios WHERE id = ? AND site_id = ?`
	const update = `UPDATE scenarios SET enabled = ?, next_at = ?, plan = '' WHERE id = ?`
	var changed bool
	err := s.db.Write(ctx, siteKey(siteID), func(ctx context.Context, tx *sql.Tx) error {
		var was bool
		if err := tx.QueryRowContext(ctx, query, scenarioID, siteID).Scan(&was); err != nil {
			return err
		}
		if changed = was != enabled; !changed {
			return nil
		}
		if _, err := tx.ExecContext(ctx, update, enabled, microsOrNull(next), scenarioID); err != nil {
			return err
		}
		return insertEntry(ctx, tx, siteID, e)
	})
	if err != nil {
		return false, wrap(ctx, err, "switch scenario %d of site %d", scenarioID, siteID)
	}
	return changed, nil
}

// RemoveScenario is documented at devices.Store.
func (s *Store) RemoveScenario(ctx context.Context, siteID, scenarioID int64, e devices.Entry) error {
	const remove = `DELETE FROM scenarios WHERE id = ? AND site_id = ? RETURNING id`
	return wrap(ctx, s.change(ctx, siteID, e, remove, scenarioID, siteID), "remove scenario %d of site %d", scenarioID, siteID)
}
