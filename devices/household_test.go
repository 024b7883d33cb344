package devices_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/devices"
)

func person(c devices.Caller, email string) devices.Person {
	return devices.Person{UserID: c.UserID, Name: c.UserName, Email: email}
}

// join invites the other person as that, who accepts.
func (h *house) join(role devices.Role) {
	h.t.Helper()
	_, code, err := h.Invite(h.t.Context(), person(h.owner, "alice@example.org"), h.site.ID, "Bob@Example.org", role)
	require.NoError(h.t, err)
	site, err := h.Join(h.t.Context(), person(h.other, "bob@example.org"), code)
	require.NoError(h.t, err)
	require.Equal(h.t, role, site.Role)
}

func TestAGuestMayLookAndNothingElse(t *testing.T) {
	h := newHouse(t)
	h.join(devices.Guest)
	group, err := h.AddGroup(t.Context(), h.site.ID, devices.Socket, "Lamps", []int64{h.socket.ID})
	require.NoError(t, err)
	scenario, err := h.AddScenario(t.Context(), devices.Scenario{
		SiteID: h.site.ID, Label: "Away", Type: devices.Scheduled, Rule: []byte(`{"at":"07:00"}`), CreatedBy: h.owner.UserID, Steps: []devices.Step{{Device: h.socket, Operation: "off"}},
	})
	require.NoError(t, err)
	h.says(devices.Security, `{"level":"armed"}`)
	_, err = h.Alarm(t.Context(), h.other, h.site.ID)
	require.NoError(t, err)
	_, err = h.Devices(t.Context(), h.other, listOf(t, devices.Socket), h.site.ID)
	require.NoError(t, err)
	_, err = h.History(t.Context(), h.other, h.site.ID, devices.HistoryQuery{})
	require.NoError(t, err)
	for _, row := range devices.Catalogue() {
		together := devices.TogetherRequest{SiteID: h.site.ID, ID: group.ID}
		var err error
		switch row.Action {
		case devices.Operate:
			_, err = h.Execute(t.Context(), h.other, devices.Request{SiteID: h.site.ID, DeviceID: h.things[row.Kind].ID, Kind: row.Kind, Operation: row.Operation})
		case devices.OperateGroup:
			if row.Kind != devices.Socket {
				continue
			}
			_, err = h.ExecuteGroup(t.Context(), h.other, row, together)
		case devices.PlayScenario:
			together.ID = scenario.ID
			_, err = h.PlayScenario(t.Context(), h.other, together)
		case devices.SwitchScenario:
			err = h.SwitchScenario(t.Context(), h.other, row, h.site.ID, scenario.ID)
		default:
			continue
		}
		require.Equal(t, devices.GuestLooks, refusal(t, err), row.Path)
	}
	h.nothingSent()
	_, _, err = h.Invite(t.Context(), person(h.other, "bob@example.org"), h.site.ID, "carol@example.org", devices.Guest)
	require.Equal(t, devices.NotOwner, refusal(t, err))
}

func TestAMemberMayDoEverythingButInvite(t *testing.T) {
	h := newHouse(t)
	h.join(devices.Member)
	r := h.arm()
	r.Operation, r.Async = "disarmed", true
	_, err := h.Execute(t.Context(), h.other, r)
	require.NoError(t, err)
	h.done(h.order())
	require.NoError(t, h.Drain(t.Context()))
	require.Equal(t, []string{"Alarm disarmed by Bob (My script)"}, h.labels(devices.HistorySecurity))
	_, _, err = h.Invite(t.Context(), person(h.other, ""), h.site.ID, "carol@example.org", devices.Guest)
	require.Equal(t, devices.NotOwner, refusal(t, err))
	require.Equal(t, devices.NotOwner, refusal(t, h.RemoveMember(t.Context(), person(h.other, ""), h.site.ID, person(h.owner, ""))))

	var field *devices.FieldError
	require.ErrorAs(t, h.RemoveMember(t.Context(), person(h.owner, ""), h.site.ID, person(h.owner, "")), &field, "the last owner")
	require.NoError(t, h.RemoveMember(t.Context(), person(h.other, ""), h.site.ID, person(h.other, "")), "who goes")
	_, err = h.Execute(t.Context(), h.other, r)
	require.Equal(t, devices.NoSuch, refusal(t, err), "at once")
	require.Equal(t, []string{
		"Alice invited somebody as a member", "Bob is a member of this home now", "Bob does not belong to this home any more",
	}, h.labels(devices.HistoryAccount))
}

func TestAnInvitationIsItsAddresssOnceAndForAWeek(t *testing.T) {
	h := newHouse(t)
	owner, bob := person(h.owner, "alice@example.org"), person(h.other, "bob@example.org")
	_, code, err := h.Invite(t.Context(), owner, h.site.ID, "bob@example.org", devices.Member)
	require.NoError(t, err)
	var field *devices.FieldError
	for name, try := range map[string]func() error{
		"another's address": func() error {
			_, err := h.Join(t.Context(), person(h.other, "eve@example.org"), code)
			return err
		},
		"another code": func() error { _, err := h.Join(t.Context(), bob, "0"); return err },
		"no code":      func() error { _, err := h.Join(t.Context(), bob, ""); return err },
		"an owner as an": func() error {
			_, _, err := h.Invite(t.Context(), owner, h.site.ID, "bob@example.org", devices.Owner)
			return err
		},
		"no address": func() error {
			_, _, err := h.Invite(t.Context(), owner, h.site.ID, "Bob <bob@example.org>", devices.Guest)
			return err
		},
		"an address that looks like another": func() error {
			_, _, err := h.Invite(t.Context(), owner, h.site.ID, "bob@ex\u0430mple.org", devices.Guest)
			return err
		},
		"an address with what nobody sees": func() error {
			_, _, err := h.Invite(t.Context(), owner, h.site.ID, "b\u200bob@example.org", devices.Guest)
			return err
		},
	} {
		require.ErrorAs(t, try(), &field, name)
	}
	h.clock.Advance(8 * 24 * time.Hour)
	_, err = h.Join(t.Context(), bob, code)
	require.ErrorAs(t, err, &field, "too late")
	list, err := h.Invitations(t.Context(), owner, h.site.ID)
	require.NoError(t, err)
	require.Empty(t, list)
	h.join(devices.Guest)
	members, err := h.Members(t.Context(), bob, h.site.ID)
	require.NoError(t, err)
	require.Len(t, members, 2)
	_, err = h.Members(t.Context(), devices.Person{UserID: 1 << 40}, h.site.ID)
	require.Equal(t, devices.NoSuch, refusal(t, err))
}

func TestAnInvitationThatIsLeftDoesNotOutliveRemoval(t *testing.T) {
	h := newHouse(t)
	h.join(devices.Guest)
	owner, bob := person(h.owner, "alice@example.org"), person(h.other, "Bob@example.org")
	_, code, err := h.Invite(t.Context(), owner, h.site.ID, "bob@example.org", devices.Member)
	require.NoError(t, err)
	var field *devices.FieldError
	_, err = h.Join(t.Context(), bob, code)
	require.ErrorAs(t, err, &field, "who belongs to the home")
	require.NoError(t, h.RemoveMember(t.Context(), owner, h.site.ID, bob))
	_, err = h.Join(t.Context(), bob, code)
	require.ErrorAs(t, err, &field, "the removed one is back")
}

func TestAnOwnerWithdrawsAnInvitation(t *testing.T) {
	h := newHouse(t)
	owner, bob := person(h.owner, "alice@example.org"), person(h.other, "bob@example.org")
	_, code, err := h.Invite(t.Context(), owner, h.site.ID, "bob@example.org", devices.Member)
	require.NoError(t, err)
	require.Equal(t, devices.NoSuch, refusal(t, h.Uninvite(t.Context(), bob, h.site.ID, "bob@example.org")))
	require.NoError(t, h.Uninvite(t.Context(), owner, h.site.ID, "Bob@Example.org"))
	var field *devices.FieldError
	_, err = h.Join(t.Context(), bob, code)
	require.ErrorAs(t, err, &field)
	require.ErrorAs(t, h.Uninvite(t.Context(), owner, h.site.ID, "bob@example.org"), &field, "once")
	h.join(devices.Member)
	require.Equal(t, devices.NotOwner, refusal(t, h.Uninvite(t.Context(), bob, h.site.ID, "carol@example.org")))
	require.Contains(t, h.labels(devices.HistoryAccount), "Alice withdrew an invitation")
}

func TestTheHistoryIsInTheSitesLanguage(t *testing.T) {
	h := newHouse(t)
	site, err := h.AddSiteIn(t.Context(), h.owner.UserID, "Maison", "Europe/Paris", devices.French)
	require.NoError(t, err)
	_, err = h.AddSiteIn(t.Context(), h.owner.UserID, "Haus", "Europe/Paris", "de")
	var field *devices.FieldError
	require.ErrorAs(t, err, &field)
	unit, _, list, err := h.AddUnit(t.Context(), site.ID, []devices.NewDevice{{Kind: devices.Shutter, Label: "Volet du séjour"}, {Kind: devices.Contact, Label: "Porte"}})
	require.NoError(t, err)
	h.site, h.unit, h.shutter = site, unit, list[0]
	h.things = map[devices.Kind]devices.Device{devices.Contact: list[1]}

	h.do(h.open()) // offline
	h.online("s1", 0)
	answer := h.begin(h.open())
	h.done(h.order())
	require.NoError(t, (<-answer).err)
	answer = h.begin(h.open())
	o := h.order()
	require.NoError(t, h.Acknowledge(t.Context(), o.UnitID, devices.Ack{CommandID: o.CommandID, Outcome: devices.Refused}))
	require.NoError(t, (<-answer).err)
	h.says(devices.Contact, `{"state":"closed"}`)
	h.says(devices.Contact, `{"state":"opened"}`)
	require.NoError(t, h.ReportEvent(t.Context(), unit.ID, devices.EventReport{ID: "e", Type: devices.EventBattery, DeviceID: list[1].ID, Time: h.clock.Now()}))
	require.NoError(t, h.ReportApplication(t.Context(), h.became("e1", "Météo", devices.ApplicationConnected, site.ID)))
	require.Equal(t, []string{
		"Alice (My script) n’a pas pu ouvrir Volet du séjour : le boîtier est hors ligne",
		"Le boîtier est connecté",
		"Alice (My script) a ouvert Volet du séjour",
		"Alice (My script) n’a pas pu ouvrir Volet du séjour : le boîtier a refusé",
		"Porte : ouverture",
		"Porte : Une pile est faible",
		"Alice a connecté l’application « Météo »",
	}, h.labels())
}

// became is an event of an application of the owner, in that site alone.
func (h *house) became(id, application string, event devices.ApplicationEvent, siteID int64) devices.ApplicationReport {
	return devices.ApplicationReport{
		ID: id, At: h.clock.Now(), Person: person(h.owner, ""), Application: application,
		In: func(found int64) devices.ApplicationEvent {
			if found == siteID {
				return event
			}
			return ""
		},
	}
}

func TestApplicationsAreInTheHistoryOfTheSitesTheyAreFor(t *testing.T) {
	h := newHouse(t)
	second, err := h.AddSiteIn(t.Context(), h.owner.UserID, "Chalet", "UTC", devices.French)
	require.NoError(t, err)
	events := []devices.ApplicationEvent{
		devices.ApplicationConnected, devices.ApplicationChanged, devices.ApplicationDisconnected, devices.ApplicationGaveUp,
		devices.ApplicationMisused, devices.ApplicationDeleted, devices.ApplicationPasswordChanged, devices.ApplicationWasteful,
		devices.ApplicationOffByOperator, devices.ApplicationOffByAlert, devices.ApplicationOnByOperator, devices.ApplicationOnByOwner,
	}
	for i, event := range events {
		report := h.became(fmt.Sprint("e", i), "Weather", event, h.site.ID)
		for range 2 { // which is once
			require.NoError(t, h.ReportApplication(t.Context(), report))
		}
		h.clock.Advance(time.Second)
	}
	require.Equal(t, []string{
		"Alice connected the application “Weather”",
		"Alice changed what the application “Weather” may do",
		"Alice disconnected the application “Weather”",
		"The application “Weather” gave up the access that Alice had given it",
		"The application “Weather”, connected by Alice, was disconnected: one of its tokens was used twice",
		"The application “Weather”, connected by Alice, was deleted",
		"The application “Weather” was disconnected when the password of Alice was changed",
		"The application “Weather”, connected by Alice, was switched off: it asked for too many tokens",
		"The application “Weather”, connected by Alice, was switched off by an operator",
		"The application “Weather”, connected by Alice, was switched off by an alert",
		"The application “Weather”, connected by Alice, was switched on again by an operator",
		"The application “Weather”, connected by Alice, was switched on again by its owner",
	}, h.labels(devices.HistoryAccount))

	require.Error(t, h.ReportApplication(t.Context(), h.became("e", "Weather", "painted", h.site.ID)))
	require.Error(t, h.ReportApplication(t.Context(), h.became("", "Weather", devices.ApplicationDeleted, h.site.ID)), "a repeat could not be told")

	everywhere := h.became("everywhere", "Weather", "", 0)
	everywhere.At = h.clock.Now().Add(-time.Minute)
	everywhere.In = func(int64) devices.ApplicationEvent { return devices.ApplicationWasteful }
	require.NoError(t, h.ReportApplication(t.Context(), everywhere))
	labels := h.labels(devices.HistoryAccount)
	require.Len(t, labels, len(events)+1)
	require.Contains(t, labels[0], "too many tokens", "it stands at its time, whenever it is told")
	h.site = second
	require.Equal(t, []string{"L’application « Weather », connectée par Alice, a été désactivée : elle a demandé trop de jetons"}, h.labels(devices.HistoryAccount))
}

func TestAGuestsApplicationsAreNotInTheHistory(t *testing.T) {
	h := newHouse(t)
	h.join(devices.Guest)
	before := h.labels(devices.HistoryAccount)
	report := h.became("e1", "Looking", devices.ApplicationConnected, h.site.ID)
	report.Person = person(h.other, "")
	require.NoError(t, h.ReportApplication(t.Context(), report))
	require.Equal(t, before, h.labels(devices.HistoryAccount))
}

func TestANameDoesNotEndItsQuotation(t *testing.T) {
	h := newHouse(t)
	report := h.became("e1", "Radio”. Alice armed the alarm through “Phone", devices.ApplicationConnected, h.site.ID)
	require.NoError(t, h.ReportApplication(t.Context(), report))
	require.Equal(t, []string{"Alice connected the application “Radio'. Alice armed the alarm through 'Phone”"}, h.labels(devices.HistoryAccount))
}

func TestAUnitThatComesAndGoesIsInTheHistory(t *testing.T) {
	h := newHouse(t)
	for range 50 { // in one minute
		h.offline("s1")
		h.online("s1", 0)
	}
	require.Equal(t, []string{"The unit is connected", "The unit is no longer connected"}, h.labels(devices.HistoryDiagnosis), "once a minute")
	h.clock.Advance(time.Minute)
	h.offline("s1")
	require.Len(t, h.labels(devices.HistoryDiagnosis), 3)
}

func TestASweepTellsWhatADeadBridgeLeft(t *testing.T) {
	h := newHouse(t, func(o *devices.Options) { o.Wait = 10 * time.Second })
	r := h.open()
	r.Async = true
	h.do(r)
	o := h.order()
	h.clock.Advance(time.Minute)
	require.NoError(t, h.Sweep(t.Context()))
	require.Contains(t, h.labels(devices.HistoryDiagnosis), "Alice (My script) could not open Kitchen: the unit did not answer")
	h.done(o)
	require.NoError(t, h.Drain(t.Context()))
}

// Who is invited sees to what before answering, and may decline, which the home is told.
func TestAnInvitationIsSeenAndDeclined(t *testing.T) {
	h := newHouse(t)
	owner, bob := person(h.owner, "alice@example.org"), person(h.other, "Bob@example.org")
	_, code, err := h.Invite(t.Context(), owner, h.site.ID, "bob@example.org", devices.Guest)
	require.NoError(t, err)
	site, i, err := h.Invited(t.Context(), bob, code)
	require.NoError(t, err)
	require.Equal(t, []any{h.site.ID, h.site.Label, devices.Guest}, []any{site.ID, site.Label, i.Role})
	var field *devices.FieldError
	for _, secret := range []string{"", code + "0"} {
		_, _, err = h.Invited(t.Context(), bob, secret)
		require.ErrorAs(t, err, &field)
		require.ErrorAs(t, h.Decline(t.Context(), bob, secret), &field)
	}
	_, _, err = h.Invited(t.Context(), person(h.other, "eve@example.org"), code)
	require.ErrorAs(t, err, &field)
	require.NoError(t, h.Decline(t.Context(), bob, code))
	require.ErrorAs(t, h.Decline(t.Context(), bob, code), &field)
	_, err = h.Join(t.Context(), bob, code)
	require.ErrorAs(t, err, &field)
	require.Equal(t, []string{"Alice invited somebody as a guest", "An invitation was declined"}, h.labels(devices.HistoryAccount))
	_, err = h.LastRuns(t.Context(), h.other, h.site.ID)
	require.Equal(t, devices.NoSuch, refusal(t, err))
}
