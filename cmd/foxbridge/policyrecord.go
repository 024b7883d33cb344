package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
			for after := ""; ; {
				rows, err := service.IssuanceMinutes(ctx, time.Since(oauth.StartOf(from)), after, clientsAtOnce)
				if err != nil {
					yield(issuanceMinute{}, err)
					return
				}
				if len(rows) == 0 {
					return
				}
				after = rows[len(rows)-1].ClientID
				var before issuanceMinute // of which the name is known
				for _, m := range summed(rows, from) {
					if m.Name = before.Name; m.ClientID != before.ClientID {
						m.Name, err = nameOf(ctx, service, m.ClientID)
					}
					if !yield(m, err) || err != nil {
						return
					}
					before = m
				}
			}
		}
	}
}

// summed adds up what was issued in a minute, by whatever grant. On which token an
// application was switched off is left out: that one was not issued.
func summed(rows []oauth.IssuanceMinute, from int64) []issuanceMinute {
	var minutes []issuanceMinute
	for _, row := range rows {
		if row.Outcome == oauth.BookedOff || row.Minute < from {
			continue
		}
		if n := len(minutes); n == 0 || minutes[n-1].ClientID != row.ClientID || minutes[n-1].Minute != row.Minute {
			minutes = append(minutes, issuanceMinute{ClientID: row.ClientID, Kind: row.Kind, Minute: row.Minute})
		}
		m := &minutes[len(minutes)-1]
		m.Tokens += row.Tokens
		m.Wasteful += row.Wasteful
	}
	return minutes
}

// nameOf is how an application is called; empty of one that is gone.
func nameOf(ctx context.Context, service *oauth.Service, clientID string) (string, error) {
	client, err := service.ClientByID(ctx, clientID)
	if err != nil && !errors.Is(err, oauth.ErrNotFound) {
		return "", fmt.Errorf("find the name of client %s: %w", clientID, err)
	}
	return client.Name, nil
}
