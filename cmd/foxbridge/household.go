package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/devices"
)

// invitation is an invitation to a home as the commands print one.
type invitation struct {
	SiteID    int64        `json:"site_id"`
	Email     string       `json:"email"`
	Role      devices.Role `json:"role"`
	Code      string       `json:"code"`
	ExpiresAt time.Time    `json:"expires_at"`
}

func siteInviteCommand(p process) *cobra.Command {
	var out printer
	var home ownersHome
	var email, role string
	c := &cobra.Command{
		Use:   "invite --owner EMAIL --site ID --email EMAIL [--role ROLE]",
		Short: "Invite a person to a home; the code with which to join is printed this once",
		Args:  cobra.NoArgs,
	}
	home.flags(c, "E-mail address of the owner who invites.")
	c.Flags().StringVar(&email, "email", "", "E-mail address of who is invited.")
	c.Flags().StringVar(&role, "role", string(devices.Member), "member, who may do everything but invite, or guest, who may look and give no command.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "email")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		by, err := home.by(c.Context(), r)
		if err != nil {
			return err
		}
		added, code, err := r.Devices.Invite(c.Context(), by, home.siteID, email, devices.Role(role))
		if err != nil {
			return err
		}
		i := invitation{SiteID: added.SiteID, Email: added.Email, Role: added.Role, Code: code, ExpiresAt: added.ExpiresAt}
		return out.print(p.stdout, i, func(w io.Writer) {
			fmt.Fprintf(w, "site_id\t%d\nemail\t%s\nrole\t%s\ncode\t%s\nexpires_at\t%s\n\nThe code cannot be shown again.\n",
				i.SiteID, i.Email, i.Role, i.Code, i.ExpiresAt.Format(time.RFC3339))
		})
	})
	return c
}

func siteUninviteCommand(p process) *cobra.Command {
	var home ownersHome
	var email string
	c := &cobra.Command{
		Use:   "uninvite --owner EMAIL --site ID --email EMAIL",
		Short: "Withdraw an invitation to a home: its code is good for nothing from then on",
		Args:  cobra.NoArgs,
	}
	home.flags(c, "E-mail address of an owner.")
	c.Flags().StringVar(&email, "email", "", "E-mail address of who was invited.")
	recordFlags(c.Flags())
	required(c, "email")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		by, err := home.by(c.Context(), r)
		if err != nil {
			return err
		}
		return r.Devices.Uninvite(c.Context(), by, home.siteID, email)
	})
	return c
}

// member is a person who belongs to a home as the commands print one.
type member struct {
	SiteID int64        `json:"site_id"`
	Email  string       `json:"email"`
	Name   string       `json:"name"`
	Role   devices.Role `json:"role"`
}

func siteJoinCommand(p process) *cobra.Command {
	var out printer
	var email, code string
	c := &cobra.Command{
		Use:   "join --email EMAIL --code CODE",
		Short: "Let a person who was invited belong to the home",
		Args:  cobra.NoArgs,
	}
	c.Flags().StringVar(&email, "email", "", "E-mail address of the person, who has an account and was invited by this address.")
	c.Flags().StringVar(&code, "code", "", "`CODE` of the invitation.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "email", "code")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		who, err := personBy(c.Context(), r, email)
		if err != nil {
			return err
		}
		joined, err := r.Devices.Join(c.Context(), who, code)
		if err != nil {
			return err
		}
		m := member{SiteID: joined.ID, Email: who.Email, Name: who.Name, Role: joined.Role}
		return out.print(p.stdout, m, func(w io.Writer) {
			fmt.Fprintf(w, "site_id\t%d\nemail\t%s\nrole\t%s\n", m.SiteID, m.Email, m.Role)
		})
	})
	return c
}

func siteMembersCommand(p process) *cobra.Command {
	var out printer
	var home ownersHome
	c := &cobra.Command{Use: "members --owner EMAIL --site ID", Short: "List who belongs to a home", Args: cobra.NoArgs}
	home.flags(c, "E-mail address of an owner.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		by, err := home.by(c.Context(), r)
		if err != nil {
			return err
		}
		belong, err := r.Devices.Members(c.Context(), by, home.siteID)
		if err != nil {
			return err
		}
		var members []member
		for _, m := range belong {
			u, err := r.OAuth.User(c.Context(), m.UserID)
			if err != nil {
				return err
			}
			members = append(members, member{home.siteID, u.Email, u.Name, m.Role})
		}
		return list(&out, p.stdout, members, "SITE_ID\tEMAIL\tNAME\tROLE", func(m member) string {
			return fmt.Sprintf("%d\t%s\t%s\t%s", m.SiteID, m.Email, m.Name, m.Role)
		})
	})
	return c
}

func siteLeaveCommand(p process) *cobra.Command {
	var home ownersHome
	var email string
	c := &cobra.Command{
		Use:   "leave --owner EMAIL --site ID --email EMAIL",
		Short: "End that a person belongs to a home",
		Args:  cobra.NoArgs,
	}
	home.flags(c, "E-mail address of an owner, or of the person.")
	c.Flags().StringVar(&email, "email", "", "E-mail address of the person.")
	recordFlags(c.Flags())
	required(c, "email")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		by, err := home.by(c.Context(), r)
		if err != nil {
			return err
		}
		who, err := personBy(c.Context(), r, email)
		if err != nil {
			return err
		}
		return r.Devices.RemoveMember(c.Context(), by, home.siteID, who)
	})
	return c
}

// ownersHome is a home by the flags of somebody who has a say in it.
type ownersHome struct {
	owner  string
	siteID int64
}

// flags defines them; both are required.
func (h *ownersHome) flags(c *cobra.Command, owner string) {
	c.Flags().StringVar(&h.owner, "owner", "", owner)
	c.Flags().Int64Var(&h.siteID, "site", 0, "The home's `ID`.")
	required(c, "owner", "site")
}

// by finds the person.
func (h *ownersHome) by(ctx context.Context, r *app.Record) (devices.Person, error) {
	return personBy(ctx, r, h.owner)
}

func personBy(ctx context.Context, r *app.Record, email string) (devices.Person, error) {
	u, err := r.OAuth.UserByEmail(ctx, email)
	return devices.Person{UserID: u.ID, Name: u.Name, Email: u.Email}, err
}

// deviceGroup is a group of devices as the commands print one.
type deviceGroup struct {
	GroupID int64        `json:"group_id"`
	SiteID  int64        `json:"site_id"`
	Kind    devices.Kind `json:"kind"`
	Label   string       `json:"label"`
	Devices []int64      `json:"devices"`
}

func deviceGroupOf(g devices.Group) deviceGroup {
	out := deviceGroup{GroupID: g.ID, SiteID: g.SiteID, Kind: g.Kind, Label: g.Label}
	for _, d := range g.Devices {
		out.Devices = append(out.Devices, d.ID)
	}
	return out
}

func groupAddCommand(p process) *cobra.Command {
	var out printer
	var kind, label string
	var siteID int64
	var ids []int64
	c := &cobra.Command{
		Use:   "add --site ID --kind KIND --label LABEL --device ID...",
		Short: "Add a group of a home's devices",
		Args:  cobra.NoArgs,
	}
	c.Flags().Int64Var(&siteID, "site", 0, "The home's `ID`.")
	c.Flags().StringVar(&kind, "kind", "", fmt.Sprintf("`KIND` of its devices, one of %v.", devices.GroupKinds()))
	c.Flags().StringVar(&label, "label", "", "How the group is called.")
	c.Flags().Int64SliceVar(&ids, "device", nil, "`ID` of a device, once for each.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	required(c, "site", "kind", "label", "device")
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		added, err := r.Devices.AddGroup(c.Context(), siteID, devices.Kind(kind), label, ids)
		if err != nil {
			return err
		}
		g := deviceGroupOf(added)
		return out.print(p.stdout, g, func(w io.Writer) {
			fmt.Fprintf(w, "group_id\t%d\nsite_id\t%d\nkind\t%s\nlabel\t%s\ndevices\t%v\n", g.GroupID, g.SiteID, g.Kind, g.Label, g.Devices)
		})
	})
	return c
}

func groupListCommand(p process) *cobra.Command {
	var out printer
	var home ownersHome
	c := &cobra.Command{Use: "list --owner EMAIL --site ID", Short: "List a home's groups", Args: cobra.NoArgs}
	home.flags(c, "E-mail address of an owner.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		by, err := home.by(c.Context(), r)
		if err != nil {
			return err
		}
		var groups []deviceGroup
		for _, row := range devices.Catalogue() {
			if row.Action != devices.ListGroups || row.Legacy {
				continue
			}
			found, err := r.Devices.Groups(c.Context(), devices.Caller{UserID: by.UserID, Unscoped: true}, row, home.siteID)
			if err != nil {
				return err
			}
			for _, g := range found {
				groups = append(groups, deviceGroupOf(g))
			}
		}
		return list(&out, p.stdout, groups, "GROUP_ID\tKIND\tLABEL\tDEVICES", func(g deviceGroup) string {
			return fmt.Sprintf("%d\t%s\t%s\t%v", g.GroupID, g.Kind, g.Label, g.Devices)
		})
	})
	return c
}

func groupRemoveCommand(p process) *cobra.Command {
	return removeCommand(p, "group", func(ctx context.Context, house *devices.Service, siteID, id int64) error {
		return house.RemoveGroup(ctx, siteID, id)
	})
}

// removeCommand removes something of a home by its number.
func removeCommand(p process, what string, remove func(ctx context.Context, house *devices.Service, siteID, id int64) error) *cobra.Command {
	var siteID, id int64
	c := &cobra.Command{Use: fmt.Sprintf("remove --site ID --%s ID", what), Short: "Remove a " + what, Args: cobra.NoArgs}
	c.Flags().Int64Var(&siteID, "site", 0, "The home's `ID`.")
	c.Flags().Int64Var(&id, what, 0, "`ID` of the "+what+".")
	recordFlags(c.Flags())
	required(c, "site", what)
	c.RunE = administer(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		return remove(c.Context(), r.Devices, siteID, id)
	})
	return c
}
