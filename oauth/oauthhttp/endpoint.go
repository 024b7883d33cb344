package oauthhttp

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/foxbridge/foxbridge/oauth"
)

// endpoint is one that applications call, rather than people. Its answers are JSON,
// its refusals in the form of RFC 6749 section 5.2.
type endpoint struct {
	*Handler
	name    string // in the log and in texts
	methods []string
	// serve gives the body of the answer, nil for an empty one, or what went wrong.
	serve     func(http.ResponseWriter, *http.Request) (body any, err error)
	cache     string // Cache-Control of a success; empty: nothing may keep it
	always401 bool   // a client that fails to authenticate gets 401 wherever its credentials stood
	bearer    bool   // it takes an access token, not a client's credentials
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(e.methods, r.Method) {
		e.fail(w, r, e.refuse(&oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "The " + e.name + " endpoint takes " + strings.Join(e.methods, ", ") + " only",
			Reason: "method not allowed", Err: errMethod,
		}))
		return
	}
	body, err := e.serve(w, r)
	if err != nil && !e.bearer { // what has a bearer was counted by Caller
		err = e.counted(r, err)
	}
	if err != nil {
		e.fail(w, r, err)
		return
	}
	if e.cache != "" {
		w.Header().Set("Cache-Control", e.cache)
	}
	write(w, http.StatusOK, body)
}

// refuse tells the observer of a refusal that the Service never saw.
func (h *Handler) refuse(refusal *oauth.Error) error {
	h.refused(refusal.Reason)
	return refusal
}

// write sends body as JSON; nil is an empty body. Unless the Cache-Control says
// otherwise nothing may keep it (RFC 6749 section 5.1).
func write(w http.ResponseWriter, status int, body any) {
	header := w.Header()
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
		header.Set("Pragma", "no-cache")
	}
	if body == nil {
		w.WriteHeader(status)
		return
	}
	header.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// What fails here is the connection: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(body)
}
