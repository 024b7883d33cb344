package web

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// policy is what one page needs beyond what all pages have.
type policy struct {
	formActions []string // sources of the form-action directive beside 'self'
	keepOpener  bool
}

// contentSecurity is the Content-Security-Policy of a page.
func (o policy) contentSecurity() string {
	actions := slices.Clone(o.formActions)
	slices.Sort(actions)
	form := strings.Join(append([]string{"form-action 'self'"}, slices.Compact(actions)...), " ")
	return "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; script-src 'self'; connect-src 'self'; " +
		form + "; frame-ancestors 'none'; base-uri 'none'"
}

func (p *Pages) writeHeaders(h http.Header, lang Language, o policy) {
	p.writePrivate(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", string(lang))
	h.Add("Vary", "Accept-Language, Cookie")
	h.Set("Content-Security-Policy", o.contentSecurity())
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if o.keepOpener {
		h.Set("Cross-Origin-Opener-Policy", "unsafe-none")
	}
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()")
}

// writePrivate sets the headers of answers that are for one person, pages or not. The
// address of a page can carry codes and state, so it is never told to other sites.
func (p *Pages) writePrivate(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	p.writeCommon(h)
}

func (p *Pages) writeCommon(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	if p.secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

var (
	sourceScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	sourceHost   = regexp.MustCompile(`^[A-Za-z0-9._-]+(:[0-9]+)?$`)
)

// formActions are the sources that allow a redirect to uri and on from there. A host
// that a source cannot express, such as an IPv6 address, is allowed by its scheme.
func formActions(uri string) []string {
	u, err := url.Parse(uri)
	if err != nil || !sourceScheme.MatchString(u.Scheme) {
		return nil
	}
	switch {
	case u.Scheme == "javascript", u.Scheme == "data":
		return nil
	case u.Scheme == "https":
		return []string{"https:"}
	case u.Scheme == "http" && sourceHost.MatchString(u.Host):
		return []string{"http://" + u.Host, "https:"}
	default:
		return []string{u.Scheme + ":", "https:"}
	}
}
