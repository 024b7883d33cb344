package oauthhttp

import (
	"mime"
	"net/http"
	"strings"
)

// NotFound answers for paths that nothing else answers: who looks for a page gets one
// that says so in the site's layout and the reader's language, and everyone else what
// next answers. A program may look for a page too, but not below the paths of the API.
func (p *Pages) NotFound(next http.Handler) http.Handler {
	missing := page{Pages: p, get: func(w http.ResponseWriter, r *http.Request, _ visitor) error {
		p.web.Error(w, r, http.StatusNotFound, "")
		return nil
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !looksForPage(r) {
			next.ServeHTTP(w, r)
			return
		}
		missing.ServeHTTP(w, r)
	})
}

// looksForPage reports whether r is a browser's on its way to a page: browsers name
// HTML among what they want there, and programs that take anything do not.
func looksForPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, api := range []string{"/v2", "/oauth2", "/.well-known"} {
		if r.URL.Path == api || strings.HasPrefix(r.URL.Path, api+"/") {
			return false
		}
	}
	for _, header := range r.Header.Values("Accept") {
		for wanted := range strings.SplitSeq(header, ",") {
			media, parameters, err := mime.ParseMediaType(wanted)
			if err == nil && media == "text/html" && !isZero(parameters["q"]) {
				return true
			}
		}
	}
	return false
}

// isZero reports whether a weight says "not that" (RFC 9110 section 12.4.2).
func isZero(weight string) bool {
	return strings.HasPrefix(weight, "0") && strings.Trim(weight, "0.") == ""
}
