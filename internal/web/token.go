package web

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
)

// TokenField is the name of the form field that holds the form token.
const TokenField = "form_token"

// FormToken is a token that proves that a form came from a page which was made for the
// holder of sessionSecret. It holds for the form of that name only. It is derived from
// the secret with HKDF-SHA256 and a new salt each time, so that neither the secret nor
// another form's token can be found from it, and pages never repeat it.
func FormToken(sessionSecret, form string) string {
	salt := rand.Text()
	return salt + "." + proof(sessionSecret, form, salt)
}

// CheckFormToken tells whether token is one that FormToken makes of the same secret
// and form. It takes the same time for all tokens of the right shape. An empty secret
// has no tokens.
func CheckFormToken(sessionSecret, form, token string) bool {
	salt, given, _ := strings.Cut(token, ".")
	if sessionSecret == "" || len(salt) > maxCookie {
		return false
	}
	want := proof(sessionSecret, form, salt)
	return want != "" && subtle.ConstantTimeCompare([]byte(given), []byte(want)) == 1
}

// proof is the part of a token that only the secret gives; empty when the secret is
// too short for what the process may use as a key.
func proof(secret, form, salt string) string {
	key, err := hkdf.Key(sha256.New, []byte(secret), []byte(salt), "foxbridge form "+form, sha256.Size)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(key)
}

// FormToken is the token for a form on the page that answers r. Before sign-in it is
// bound to a cookie that is set for the purpose, so it is to be called before the answer
// begins.
func (p *Pages) FormToken(w http.ResponseWriter, r *http.Request, form string) string {
	secret := p.Session(r)
	if secret == "" {
		secret = p.preSession(w, r)
	}
	return FormToken(secret, form)
}

// CheckFormToken tells whether token came with that form to the browser that sends r.
func (p *Pages) CheckFormToken(r *http.Request, form, token string) bool {
	secret := p.Session(r)
	if secret == "" {
		secret = p.cookie(r, preSessionCookie)
	}
	return CheckFormToken(secret, form, token)
}

// PostedForm reads the named fields of a form, as ParseForm does, and refuses it when
// it comes without the token of that form.
func (p *Pages) PostedForm(w http.ResponseWriter, r *http.Request, form string, names ...string) (*Form, error) {
	f, err := ParseForm(w, r, append([]string{TokenField}, names...)...)
	if err != nil {
		return nil, err
	}
	if !p.CheckFormToken(r, form, f.Get(TokenField)) {
		return nil, &FormError{Status: http.StatusForbidden, Field: TokenField, Key: "web.error.form_token", reason: "form token is not valid"}
	}
	return f, nil
}
