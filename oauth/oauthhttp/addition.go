package oauthhttp

import (
	"io/fs"
	"net/http"

	"github.com/foxbridge/foxbridge/internal/web"
	"github.com/foxbridge/foxbridge/oauth"
)

// Addition is pages of the site that are not the authorization server's own: they stand
// in the same layout.
type Addition struct {
	Path  string // local, of the page in the navigation
	Label string // message key of its entry there
	// Templates, Messages and Assets are what it adds to those of the site, see web.Options;
	// Keys are messages that it makes up. Each may be nil.
	Templates, Messages, Assets fs.FS
	Keys                        []string
	// Serve answers GET at Path, for everybody. Nil: a page of Private does.
	Serve func(site *web.Pages, w http.ResponseWriter, r *http.Request)
	// Private are pages for who is signed in, in the order in which they are matched.
	Private []PrivatePage
}

// PrivatePage is a page for who is signed in; others are sent to sign in first, and back to
// it, or with a form, whose content is lost, to the Path of its Addition. Path is a template
// of the router. A method that is nil is refused; what one gives as an error is answered with
// a page, as web.Pages.Refuse does.
type PrivatePage struct {
	Path      string
	Get, Post func(site *web.Pages, w http.ResponseWriter, r *http.Request, person oauth.User) error
}

// addTo adds what an Addition brings to what a site is made of.
func (a Addition) addTo(o *web.Options) {
	for _, add := range []struct {
		files fs.FS
		to    *[]fs.FS
	}{{a.Templates, &o.Templates}, {a.Messages, &o.Messages}, {a.Assets, &o.Assets}} {
		if add.files != nil {
			*add.to = append(*add.to, add.files)
		}
	}
}

func (p *Pages) additionPages() []route {
	var routes []route
	for _, a := range p.additions {
		if a.Serve != nil {
			routes = append(routes, route{a.Path, page{get: func(w http.ResponseWriter, r *http.Request, _ visitor) error {
				a.Serve(p.web, w, r)
				return nil
			}}})
		}
		for _, private := range a.Private {
			routes = append(routes, route{private.Path, page{
				get: p.privately(private.Get), post: p.privately(private.Post), private: true, back: a.Path,
			}})
		}
	}
	return routes
}

// privately serves for the person who is signed in.
func (p *Pages) privately(serve func(*web.Pages, http.ResponseWriter, *http.Request, oauth.User) error) func(http.ResponseWriter, *http.Request, visitor) error {
	if serve == nil {
		return nil
	}
	return func(w http.ResponseWriter, r *http.Request, v visitor) error { return serve(p.web, w, r, v.user) }
}
