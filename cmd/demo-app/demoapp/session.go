package demoapp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// session is what the application knows of the person at a browser.
type session struct {
	Token *oauth2.Token `json:"token,omitempty"` // nil: nobody has authorized
	Scope string        `json:"scope,omitempty"` // what it was granted; empty: everything
	Begun *begun        `json:"begun,omitempty"` // nil: no authorization is under way

	// For the next page: what was done, and what went wrong.
	Notice  string `json:"notice,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// begun is an authorization under way.
type begun struct {
	State    string    `json:"state"`
	Verifier string    `json:"verifier"` // RFC 7636 section 4.1
	At       time.Time `json:"at"`
}

// sessions keeps each session in a cookie of its browser, sealed with a key that is
// made anew with the process: who has the cookie cannot read the tokens in it.
type sessions struct {
	seal   cipher.AEAD
	name   string
	secure bool
}

const (
	maxCookie  = 4000 // bytes; what browsers keep
	maxProblem = 300  // bytes
)

// newSessions keeps them under a name of their own on each port: browsers send a cookie
// to every port of its host. Of an https address, host and scheme are enough.
func newSessions(own *url.URL) (*sessions, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails: crypto/rand ends the process instead
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make key of sessions: %w", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make key of sessions: %w", err)
	}
	s := &sessions{seal: seal, name: "demo-app", secure: own.Scheme == "https"}
	switch {
	case s.secure:
		s.name = "__Host-demo-app"
	case own.Port() != "":
		s.name += "-" + own.Port()
	}
	return s, nil
}

// read gives the request's session. A cookie that is not ours is an empty one.
func (s *sessions) read(r *http.Request) session {
	cookie, err := r.Cookie(s.name)
	if err != nil {
		return session{}
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return session{}
	}
	text, err := s.seal.Open(nil, nil, sealed, nil)
	if err != nil {
		return session{}
	}
	var found session
	if err := json.Unmarshal(text, &found); err != nil {
		return session{}
	}
	return found
}

// write gives the browser its session. Of a problem that is too long to keep the
// beginning is kept.
func (s *sessions) write(w http.ResponseWriter, v session) error {
	if len(v.Problem) > maxProblem {
		v.Problem = strings.ToValidUTF8(v.Problem[:maxProblem], "") + "..."
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write session: %w", err)
	}
	sealed := s.seal.Seal(nil, nil, text, nil) // #nosec G407 -- it makes its nonce itself
	value := base64.RawURLEncoding.EncodeToString(sealed)
	if len(value) > maxCookie {
		return fmt.Errorf("write session: it has %d bytes", len(value))
	}
	http.SetCookie(w, &http.Cookie{ // #nosec G124 -- Secure is as the site is served
		Name: s.name, Value: value, Path: "/", HttpOnly: true, Secure: s.secure,
		SameSite: http.SameSiteLaxMode, // not Strict: the browser comes back from Foxbridge
	})
	return nil
}
