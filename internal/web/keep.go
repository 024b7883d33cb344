package web

import (
	"net/http"
	"time"
)

// Keep gives the browser a value of at most 256 bytes to bring along for so long, in a
// cookie that scripts cannot read. The name tells what it is for: small letters, none
// that this package uses itself (session, visit, language, notice). What may not be
// read or changed there must be sealed by the caller.
func (p *Pages) Keep(w http.ResponseWriter, name, value string, lasts time.Duration) {
	p.setCookie(w, name, value, lasts)
}

// Kept is the value that Keep gave to the browser; empty when there is none.
func (p *Pages) Kept(r *http.Request, name string) string { return p.cookie(r, name) }

// Drop takes back what Keep gave.
func (p *Pages) Drop(w http.ResponseWriter, name string) { p.setCookie(w, name, "", 0) }
