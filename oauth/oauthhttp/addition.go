package oauthhttp

import (
	"io/fs"
	"net/http"

	"github.com/foxbridge/foxbridge/internal/web"
)

// Addition is a page of the site that is not the authorization server's own: it stands
// in the same layout, and knows who is signed in by its header alone.
type Addition struct {
	Path  string // local
	Label string // message key of its entry in the navigation
	// Templates, Messages and Assets are what it adds to those of the site; see
	// web.Options.
	Templates, Messages, Assets fs.FS
	// Serve answers GET.
	Serve func(site *web.Pages, w http.ResponseWriter, r *http.Request)
}

// addTo adds what an Addition brings to what a site is made of.
func (a Addition) addTo(o *web.Options) {
	o.Templates = append(o.Templates, a.Templates)
	o.Messages = append(o.Messages, a.Messages)
	o.Assets = append(o.Assets, a.Assets)
}

func (p *Pages) additionPages() []route {
	var routes []route
	for _, a := range p.additions {
		routes = append(routes, route{a.Path, page{get: func(w http.ResponseWriter, r *http.Request, _ visitor) error {
			a.Serve(p.web, w, r)
			return nil
		}}})
	}
	return routes
}
