package oauthhttp

import (
	"errors"
	"net/http"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// Limits count requests. Each method gives how long their sender has to wait; zero:
// the request may go on. They are called concurrently, and return soon.
type Limits interface {
	// Anonymous counts a request for which nobody has authenticated, by its sender's
	// address.
	Anonymous(r *http.Request) time.Duration
	// Bearer counts a request with a live access token.
	Bearer(r *http.Request, a oauth.Access) time.Duration
	// Visitor counts a request of a person who is signed in.
	Visitor(r *http.Request, userID int64) time.Duration
	// Waste is told how the application that sent r to the token endpoint stands with its
	// budgets of wasteful tokens, before the answer is sent.
	Waste(r *http.Request, budgets []oauth.Waste)
}

// unlimited are the Limits of who has none.
type unlimited struct{}

func (unlimited) Anonymous(*http.Request) time.Duration            { return 0 }
func (unlimited) Bearer(*http.Request, oauth.Access) time.Duration { return 0 }
func (unlimited) Visitor(*http.Request, int64) time.Duration       { return 0 }
func (unlimited) Waste(*http.Request, []oauth.Waste)               {}

// tooMany is the refusal of a request whose sender has to wait.
func (h *Handler) tooMany(clientID string, wait time.Duration) *oauth.Error {
	const reason = "too many requests"
	h.refused(reason)
	return &oauth.Error{
		Code: oauth.CodeSlowDown, Description: "Too many requests: wait before the next one",
		Reason: reason, RetryAfter: wait, ClientID: clientID,
	}
}

// counted counts a refusal of who has not authenticated, and gives the answer to it: a
// stranger who has asked too often is told so instead. Whoever does authenticate is
// never kept out by strangers at the same address.
func (h *Handler) counted(r *http.Request, err error) error {
	refusal, is := errors.AsType[*oauth.Error](err)
	if !is || refusal.ClientID != "" {
		return err
	}
	if wait := h.limits.Anonymous(r); wait > 0 {
		return h.tooMany("", wait)
	}
	return err
}
