package web

import (
	"net/http"
	"net/url"
	"strings"
)

// maxReturn bounds a local path, in bytes.
const maxReturn = 32 << 10

// LocalPath tells whether s is a path of this site, with or without a query, that
// browsers cannot read as an address elsewhere.
func LocalPath(s string) bool {
	if len(s) > maxReturn || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") {
		return false
	}
	// Browsers take a backslash for a slash and leave out tabs and line ends.
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return false
		}
	}
	u, err := url.ParseRequestURI(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return false
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." || strings.Contains(segment, `\`) {
			return false
		}
	}
	return true
}

// Redirect answers with status 303, which makes browsers fetch location with GET. The
// location is the caller's to vouch for.
func (p *Pages) Redirect(w http.ResponseWriter, location string) {
	p.writePrivate(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}
