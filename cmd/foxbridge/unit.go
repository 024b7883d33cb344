package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/devices"
)

// newUnit is a new HomeControl unit as "unit add" prints it. It is also the file
// with which "simulate" plays that unit.
type newUnit struct {
	UnitID   string       `json:"unit_id"`  // its MQTT username
	Password string       `json:"password"` // its MQTT password
	SiteID   int64        `json:"site_id"`
	Devices  []unitDevice `json:"devices"`
}

type unitDevice struct {
	DeviceID int64        `json:"device_id"`
	Kind     devices.Kind `json:"kind"`
	Label    string       `json:"label"`
}

func newUnitOf(u devices.Unit, password string, list []devices.Device) newUnit {
	out := newUnit{UnitID: u.ID, Password: password, SiteID: u.SiteID, Devices: []unitDevice{}}
	for _, d := range list {
		out.Devices = append(out.Devices, unitDevice{d.ID, d.Kind, d.Label})
	}
	return out
}

func unitAddCommand(p process) *cobra.Command {
	var out printer
	var siteID int64
	var wanted []string
	c := &cobra.Command{
		Use:   "add --site ID [--device KIND:LABEL]...",
		Short: "Add a home's HomeControl unit with its devices; its password is printed this once",
		Args:  cobra.NoArgs,
	}
	c.Flags().Int64Var(&siteID, "site", 0, "The home's `ID`.")
	c.Flags().StringArrayVar(&wanted, "device", nil, fmt.Sprintf("`KIND:LABEL` of a device that the unit drives, once for each. KIND is one of %s.", kinds()))
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "site")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		list, err := parseDevices(wanted)
		if err != nil {
			return err
		}
		unit, password, registered, err := r.Devices.AddUnit(c.Context(), siteID, list)
		if err != nil {
			return err
		}
		u := newUnitOf(unit, password, registered)
		return out.print(p.stdout, u, func(w io.Writer) {
			fmt.Fprintf(w, "unit_id\t%s\npassword\t%s\nsite_id\t%d\n", u.UnitID, u.Password, u.SiteID)
			for _, d := range u.Devices {
				fmt.Fprintf(w, "device\t%d\t%s\t%s\n", d.DeviceID, d.Kind, d.Label)
			}
			fmt.Fprintln(w, "\nThe password cannot be shown again.")
		})
	})
	return c
}

func kinds() string {
	var names []string
	for _, k := range devices.DeviceKinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func parseDevices(wanted []string) ([]devices.NewDevice, error) {
	list := make([]devices.NewDevice, 0, len(wanted))
	for _, w := range wanted {
		kind, label, found := strings.Cut(w, ":")
		if !found {
			return nil, errors.New("--device is not KIND:LABEL")
		}
		list = append(list, devices.NewDevice{Kind: devices.Kind(kind), Label: label})
	}
	return list, nil
}

// unit is a HomeControl unit as "unit list" prints it.
type unit struct {
	UnitID        string     `json:"unit_id"`
	SiteID        int64      `json:"site_id"`
	Online        bool       `json:"online"`
	Firmware      string     `json:"firmware"`
	Catalogue     int        `json:"catalogue"`
	ClockOffsetMS int64      `json:"clock_offset_ms"`
	SeenAt        *time.Time `json:"seen_at"` // null if it never connected
	CreatedAt     time.Time  `json:"created_at"`
}

func unitOf(u devices.Unit) unit {
	out := unit{
		UnitID: u.ID, SiteID: u.SiteID, Online: u.Link.Online, Firmware: u.Link.Firmware,
		Catalogue: u.Link.Catalogue, ClockOffsetMS: u.Link.ClockOffset.Milliseconds(), CreatedAt: u.CreatedAt,
	}
	if !u.Link.At.IsZero() {
		out.SeenAt = &u.Link.At
	}
	return out
}

func unitListCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{Use: "list", Short: "List HomeControl units and whether they are online", Args: cobra.NoArgs}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		var units []unit
		err := pages(func(last *devices.Unit) ([]devices.Unit, error) {
			if last == nil {
				return r.Devices.Units(c.Context(), "", pageSize)
			}
			return r.Devices.Units(c.Context(), last.ID, pageSize)
		}, func(u devices.Unit) error {
			units = append(units, unitOf(u))
			return nil
		})
		if err != nil {
			return err
		}
		return list(&out, p.stdout, units, "UNIT_ID\tSITE_ID\tONLINE\tFIRMWARE\tSEEN", func(u unit) string {
			seen := "never"
			if u.SeenAt != nil {
				seen = u.SeenAt.Format(time.RFC3339)
			}
			return fmt.Sprintf("%s\t%d\t%t\t%s\t%s", u.UnitID, u.SiteID, u.Online, u.Firmware, seen)
		})
	})
	return c
}
