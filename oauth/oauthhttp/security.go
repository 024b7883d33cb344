package oauthhttp

import (
	"net/http"

	"github.com/foxbridge/foxbridge/internal/web"
)

// pathSecurity is the page of security settings. It is made of sections, each with a
// template, a view and a file of its own.
const pathSecurity = "/security"

// securityPage is the data of the page of security settings.
type securityPage struct {
	Factors factorsView
}

func (p *Pages) security(w http.ResponseWriter, r *http.Request, v visitor) error {
	var page securityPage
	var err error
	if page.Factors, err = p.factorsView(r, v); err != nil {
		return err
	}
	p.web.Render(w, r, http.StatusOK, "security", page)
	return nil
}

// securityPages are the page of security settings and what it leads to.
func (p *Pages) securityPages() []route {
	routes := []route{{pathSecurity, page{get: p.security}}}
	routes = append(routes, p.factorPages()...)
	for i := range routes {
		routes[i].page.private, routes[i].page.back = true, pathSecurity
	}
	return routes
}

// confirmForm is a form that wants the password of who is signed in.
type confirmForm struct {
	Form  *web.Form
	Token string
	Email string // for programs that fill in passwords
}
