package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/oauth"
)

// onIssuance makes the RunE of a command that reads what was issued.
type onIssuance func(do func(c *cobra.Command, record issuanceMinutes) error) func(*cobra.Command, []string) error

// inspectIssuance is the onIssuance of the record that the flags name.
func inspectIssuance(p process) onIssuance {
	return func(do func(c *cobra.Command, record issuanceMinutes) error) func(*cobra.Command, []string) error {
		return inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
			return do(c, recordedIssuance(r.OAuth))
		})
	}
}

// clientsAtOnce are how many applications' minutes are held in memory: of each, 45,000
// for each grant at the most.
const clientsAtOnce = 10

// recordedIssuance gives the minutes of the record.
func recordedIssuance(service *oauth.Service) issuanceMinutes {
	return func(ctx context.Context, from int64) iter.Seq2[issuanceMinute, error] {
		return func(yield func(issuanceMinute, error) bool) {
			gone, err := deletedApps(ctx, service, from)
			if err != nil {
				yield(issuanceMinute{}, err)
				return
			}
			for rows, err := range eachClient(ctx, service, from) {
				var minutes []issuanceMinute
				if err == nil {
					minutes, err = storyOf(ctx, service, rows, gone[rows[0].OwnerID], from)
				}
				if err != nil {
					yield(issuanceMinute{}, err)
					return
				}
				for _, m := range minutes {
					if !yield(m, nil) {
						return
					}
				}
			}
		}
	}
}

// eachClient gives the rows of one application after the other.
func eachClient(ctx context.Context, service *oauth.Service, from int64) iter.Seq2[[]oauth.IssuanceMinute, error] {
	return func(yield func([]oauth.IssuanceMinute, error) bool) {
		for after := ""; ; {
			rows, err := service.IssuanceMinutes(ctx, time.Since(oauth.StartOf(from)), after, clientsAtOnce)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			for len(rows) > 0 {
				after = rows[0].ClientID
				n := slices.IndexFunc(rows, func(r oauth.IssuanceMinute) bool { return r.ClientID != after })
				if n < 0 {
					n = len(rows)
				}
				if !yield(rows[:n], nil) {
					return
				}
				rows = rows[n:]
			}
		}
	}
}

// deletedApp is what a personal application had wasted when it was deleted.
type deletedApp struct {
	id     string
	at     time.Time
	wasted []wasted
}

// deletedApps finds them for each owner. Only what counts for the owner's other
// applications is kept.
func deletedApps(ctx context.Context, service *oauth.Service, from int64) (map[int64][]deletedApp, error) {
	gone := make(map[int64][]deletedApp)
	for rows, err := range eachClient(ctx, service, from) {
		if err != nil {
			return nil, err
		}
		list := wasteOf(rows)
		if rows[0].Kind != oauth.Personal || len(list) == 0 {
			continue
		}
		client, err := service.ClientByID(ctx, rows[0].ClientID)
		if err != nil {
			return nil, err
		}
		if client.Status != oauth.Deleted {
			continue
		}
		at, err := deletedAt(ctx, service, client, oauth.StartOf(rows[len(rows)-1].Minute))
		if err != nil {
			return nil, err
		}
		gone[client.OwnerID] = append(gone[client.OwnerID], deletedApp{client.ID, at, list})
	}
	return gone, nil
}

// wasteOf is what rows waste and nobody forgave, by the minute.
func wasteOf(rows []oauth.IssuanceMinute) []wasted {
	var list []wasted
	for _, row := range rows {
		if n := row.Wasteful - row.Forgiven; n > 0 && row.Outcome != oauth.BookedOff {
			list = append(list, wasted{row.Minute, n})
		}
	}
	return list
}

// deletedAt finds in the owner's record when an application was deleted, which was after
// it was last issued something.
func deletedAt(ctx context.Context, service *oauth.Service, c oauth.Client, last time.Time) (time.Time, error) {
	for before := int64(0); ; {
		changes, err := service.Changes(ctx, c.OwnerID, before)
		if err != nil {
			return time.Time{}, err
		}
		for _, change := range changes {
			if change.Action == oauth.ActionAppDeleted && change.ClientID == c.ID {
				return change.At, nil
			}
			before = change.ID
		}
		if len(changes) == 0 || changes[len(changes)-1].At.Before(last) {
			return last.Add(time.Minute), nil
		}
	}
}

// storyOf tells of one application, minute by minute, what it was issued and what else
// counts in judging that.
func storyOf(ctx context.Context, service *oauth.Service, rows []oauth.IssuanceMinute, gone []deletedApp, from int64) ([]issuanceMinute, error) {
	client, err := service.ClientByID(ctx, rows[0].ClientID)
	if err != nil && !errors.Is(err, oauth.ErrNotFound) {
		return nil, fmt.Errorf("find the name of client %s: %w", rows[0].ClientID, err)
	}
	byMinute := make(map[int64]issuanceMinute)
	at := func(minute int64, change func(m *issuanceMinute)) {
		m, there := byMinute[minute]
		if !there {
			m = issuanceMinute{ClientID: rows[0].ClientID, Name: client.Name, Kind: rows[0].Kind, Minute: minute}
		}
		change(&m)
		byMinute[minute] = m
	}
	for _, row := range rows {
		at(row.Minute, func(m *issuanceMinute) { m.add(row) })
	}
	if rows[0].Kind == oauth.Personal {
		if err := eachRuling(ctx, service, rows[0].ClientID, from, func(r oauth.Ruling) {
			at(oauth.Minute(r.At), func(m *issuanceMinute) { m.rule(r) })
		}); err != nil {
			return nil, err
		}
		for _, d := range gone {
			switch {
			case d.id == client.ID:
			case d.at.After(client.CreatedAt):
				at(oauth.Minute(d.at), func(m *issuanceMinute) { m.Meanwhile = append(m.Meanwhile, d.wasted...) })
			default:
				at(oauth.Minute(client.CreatedAt), func(m *issuanceMinute) { m.Before = append(m.Before, d.wasted...) })
			}
		}
	}
	var story []issuanceMinute
	for _, minute := range slices.Sorted(maps.Keys(byMinute)) {
		if minute >= from {
			story = append(story, byMinute[minute])
		}
	}
	return story, nil
}

// add adds what was issued, by whatever grant, and what was refused.
func (m *issuanceMinute) add(row oauth.IssuanceMinute) {
	if row.Outcome == oauth.BookedOff {
		m.Refused += row.Tokens
		return
	}
	m.Tokens += row.Tokens
	m.Wasteful += row.Wasteful
}

// rule takes down that the application was switched off or reactivated.
func (m *issuanceMinute) rule(r oauth.Ruling) {
	switch {
	case !r.Effective:
	case r.Verdict == oauth.VerdictSwitchOff:
		m.Off = true
	case r.Verdict == oauth.VerdictReactivation:
		m.Reactivated++
	}
}

// eachRuling gives the rulings on an application since a minute.
func eachRuling(ctx context.Context, service *oauth.Service, clientID string, from int64, do func(oauth.Ruling)) error {
	for before := int64(0); ; {
		rulings, err := service.Verdicts(ctx, clientID, before)
		if err != nil {
			return err
		}
		for _, r := range rulings {
			if oauth.Minute(r.At) < from {
				return nil
			}
			do(r)
			before = r.ID
		}
		if len(rulings) == 0 {
			return nil
		}
	}
}
