package oauthhttp

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Form of the page of connected applications.
const (
	formDisconnect = "disconnect"
	fieldClientID  = "client_id"
)

// connectedView is the data of the page of connected applications.
type connectedView struct {
	Token        string
	Applications []connectionView
}

type connectionView struct {
	oauth.Connection
	HomeHost string
	Personal bool
	Picture  string // path; may be empty
	Grants   []grantView
}

// grantView is what an application may do somewhere.
type grantView struct {
	All    bool         // all that the person may do
	Scopes []web.Option // otherwise
	Sites  []string     // where
	Since  time.Time

	Everywhere bool // in all sites of the person
}

// connected lists the applications that may do something for the person.
func (p *Pages) connected(w http.ResponseWriter, r *http.Request, v visitor) error {
	connections, err := p.service.Connections(r.Context(), v.user.ID)
	if err != nil {
		return err
	}
	labels, err := p.siteLabels(r, v)
	if err != nil {
		return err
	}
	view := connectedView{Token: p.web.FormToken(w, r, formDisconnect)}
	for _, c := range connections {
		shown := connectionView{Connection: c, HomeHost: hostOf(c.HomePage), Personal: c.Kind == oauth.Personal, Picture: logoPath(c.ClientID, c.Logo)}
		for _, g := range c.Grants {
			shown.Grants = append(shown.Grants, grantView{
				All: g.Scope == nil, Scopes: p.scopeOptions(g.Scope), Sites: sitesIn(labels, g.Sites), Since: g.Since,
				Everywhere: g.Sites == nil,
			})
		}
		view.Applications = append(view.Applications, shown)
	}
	p.web.Render(w, r, http.StatusOK, "connected", view)
	return nil
}

func (p *Pages) siteLabels(r *http.Request, v visitor) (map[int64]string, error) {
	sites, err := p.sites(r.Context(), v.user.ID)
	if err != nil {
		return nil, fmt.Errorf("list sites of user %d: %w", v.user.ID, err)
	}
	labels := make(map[int64]string, len(sites))
	for _, s := range sites {
		labels[s.ID] = s.Label
	}
	return labels, nil
}

// sitesIn are the labels of the sites that are still the person's.
func sitesIn(labels map[int64]string, ids []int64) (sites []string) {
	for _, id := range ids {
		if label, still := labels[id]; still {
			sites = append(sites, label)
		}
	}
	return sites
}

// disconnect takes back all that the person has granted to an application. One that
// holds nothing any more is as good.
func (p *Pages) disconnect(w http.ResponseWriter, r *http.Request, v visitor) error {
	form, err := p.web.PostedForm(w, r, formDisconnect, fieldClientID)
	if err != nil {
		return err
	}
	done, err := p.disconnected(r, v, form.Get(fieldClientID))
	if err != nil {
		return err
	}
	ended, err := p.service.Disconnect(r.Context(), v.user.ID, form.Get(fieldClientID), p.address(r))
	if err != nil {
		return err
	}
	if ended {
		p.log.InfoContext(r.Context(), "application disconnected", "client_id", form.Get(fieldClientID), "user_id", v.user.ID)
	}
	p.web.Flash(w, done)
	p.web.Redirect(w, pathConnected)
	return nil
}

// disconnected is the message for who has disconnected an application. A personal one
// can come back without asking: it needs nothing but a password.
func (p *Pages) disconnected(r *http.Request, v visitor, clientID string) (key string, err error) {
	c, err := p.service.Application(r.Context(), v.user.ID, clientID)
	switch {
	case err == nil && c.Kind == oauth.Personal:
		return "connected.done.personal", nil
	case err != nil && !errors.Is(err, oauth.ErrNotFound):
		return "", err
	}
	return "connected.done", nil
}
