package web

import (
	"crypto/rand"
	"net/http"
	"time"
)

// Cookies, by the part of their names that says what they are for.
const (
	sessionCookie    = "session"
	preSessionCookie = "visit"
	languageCookie   = "language"
	flashCookie      = "notice"
)

const (
	// preSessionLasts is how long a form may stay open before its reader signs in.
	preSessionLasts = time.Hour
	flashLasts      = time.Minute
	maxCookie       = 256 // bytes of a value that is read
)

// cookieName is the whole name. With the prefix browsers take the cookie only over
// HTTPS and from this very host. A port does not keep cookies apart (RFC 6265 section
// 8.5), so over plain HTTP the name does.
func (p *Pages) cookieName(purpose string) string {
	if p.secure {
		return "__Host-foxbridge-" + purpose
	}
	if p.port != "" {
		return "foxbridge-" + p.port + "-" + purpose
	}
	return "foxbridge-" + purpose
}

// cookie is the value of a cookie; empty when there is none, or several of that name,
// of which one may be another site's work.
func (p *Pages) cookie(r *http.Request, purpose string) string {
	found := r.CookiesNamed(p.cookieName(purpose))
	if len(found) != 1 || len(found[0].Value) > maxCookie {
		return ""
	}
	return found[0].Value
}

// setCookie replaces what this answer has said of the cookie so far.
func (p *Pages) setCookie(w http.ResponseWriter, purpose, value string, lasts time.Duration) {
	c := &http.Cookie{ // #nosec G124 -- Secure is as the site is served
		Name: p.cookieName(purpose), Value: value, Path: "/", MaxAge: int(lasts / time.Second),
		HttpOnly: true, Secure: p.secure, SameSite: http.SameSiteLaxMode,
	}
	if lasts <= 0 {
		c.MaxAge = -1
	}
	said := w.Header().Values("Set-Cookie")
	w.Header().Del("Set-Cookie")
	for _, line := range said {
		if other, err := http.ParseSetCookie(line); err != nil || other.Name != c.Name {
			w.Header().Add("Set-Cookie", line)
		}
	}
	http.SetCookie(w, c)
}

// answered is the value that this answer gives to a cookie; empty when it gives none.
func (p *Pages) answered(w http.ResponseWriter, purpose string) string {
	for _, line := range w.Header().Values("Set-Cookie") {
		if c, err := http.ParseSetCookie(line); err == nil && c.Name == p.cookieName(purpose) && c.MaxAge >= 0 {
			return c.Value
		}
	}
	return ""
}

// Session is the value of the session cookie; empty when the request has none.
func (p *Pages) Session(r *http.Request) string { return p.cookie(r, sessionCookie) }

// StartSession gives the browser a session cookie, and takes back what stood in for it
// before. The value is a secret of at most 256 bytes that nobody has used before:
// it must be a new one at each sign-in.
func (p *Pages) StartSession(w http.ResponseWriter, value string, lasts time.Duration) {
	p.setCookie(w, sessionCookie, value, lasts)
	p.setCookie(w, preSessionCookie, "", 0)
}

// EndSession takes the session cookie back.
func (p *Pages) EndSession(w http.ResponseWriter) { p.setCookie(w, sessionCookie, "", 0) }

// preSession is the secret of a browser that has no session. It is made when there is
// none, and lasts on when there is one.
func (p *Pages) preSession(w http.ResponseWriter, r *http.Request) string {
	secret := p.answered(w, preSessionCookie)
	if secret == "" {
		secret = p.cookie(r, preSessionCookie)
	}
	if secret == "" {
		secret = rand.Text()
	}
	p.setCookie(w, preSessionCookie, secret, preSessionLasts)
	return secret
}

// Flash has the next page that is rendered for this browser begin with the message of
// key, which takes no arguments, as a notice of success. It is for the redirect after a
// form was carried out.
func (p *Pages) Flash(w http.ResponseWriter, key string) {
	p.setCookie(w, flashCookie, key, flashLasts)
}

// takeFlash gives the notice that waits for this browser. The cookie may hold anything:
// what is no message without arguments is nothing.
func (p *Pages) takeFlash(w http.ResponseWriter, r *http.Request, lang Language) *Notice {
	key := p.cookie(r, flashCookie)
	if key == "" {
		return nil
	}
	p.setCookie(w, flashCookie, "", 0)
	text, err := p.text.translate(lang, key, nil)
	if err != nil {
		return nil
	}
	return &Notice{Kind: "success", Text: text}
}
