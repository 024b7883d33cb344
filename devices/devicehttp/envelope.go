package devicehttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// AuthError says that a request carries no token, or not a right one (RFC 6750
// section 3.1), or that its sender has to wait before the next.
type AuthError struct {
	Status      int
	Code        string // error in the envelope
	Description string
	Challenge   string        // WWW-Authenticate; empty for none
	RetryAfter  time.Duration // when a repeat may succeed; zero if the request itself is wrong
}

// Error gives the code and the description.
func (e *AuthError) Error() string { return e.Code + ": " + e.Description }

// envelope is the form of every answer below /v2.
type envelope struct {
	Status           string `json:"status"`
	Timestamp        int64  `json:"timestamp"`
	Payload          any    `json:"payload,omitempty"`
	Error            string `json:"error,omitempty"`
	ErrorDescription string `json:"error_description,omitempty"`
}

// items is the payload of a list: never null.
type items[T any] struct {
	Items []T `json:"items"`
}

// request is the payload of a command: one client requires it to the letter.
type request struct {
	Request string `json:"request"`
}

// accepted is the payload of a command whose outcome is not awaited.
type accepted struct {
	payload any
}

// outcomeError carries a command that did not end in done to fail.
type outcomeError struct{ command devices.Command }

func (e *outcomeError) Error() string { return "command ended in " + string(e.command.Outcome) }

func (h *Handler) ok(w http.ResponseWriter, r *http.Request, payload any) {
	status := http.StatusOK
	if a, is := payload.(accepted); is {
		status, payload = http.StatusAccepted, a.payload
	}
	h.write(w, r, status, envelope{Status: "OK", Timestamp: h.now().Unix(), Payload: payload})
}

func (h *Handler) ko(w http.ResponseWriter, r *http.Request, status int, code, text string) {
	h.write(w, r, status, envelope{Status: "KO", Timestamp: h.now().Unix(), Error: code, ErrorDescription: text})
}

func (h *Handler) write(w http.ResponseWriter, r *http.Request, status int, e envelope) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		h.log.ErrorContext(r.Context(), "answer not encoded", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(body.Bytes()); err != nil {
		h.log.DebugContext(r.Context(), "answer not sent", "err", err)
	}
}

// statusOf is the one table from a refusal to its HTTP status. 400 is not in it: a
// client takes that for a token that is no good.
func statusOf(code devices.RefusalCode) int {
	switch code {
	case devices.NoSuch:
		return http.StatusNotFound
	case devices.LaneFull, devices.BudgetSpent:
		return http.StatusTooManyRequests
	case devices.KeyReuse, devices.BadKey, devices.BadFilter:
		return http.StatusUnprocessableEntity
	case devices.MissingScope:
		return http.StatusForbidden
	case devices.NotReported:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// fail turns any error into the answer for it. What it does not know shows nothing of
// its inside.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	var auth *AuthError
	var refusal *devices.Refusal
	var outcome *outcomeError
	switch {
	case errors.As(err, &auth):
		if auth.Challenge != "" {
			w.Header().Set("WWW-Authenticate", auth.Challenge)
		}
		retryAfter(w, auth.RetryAfter)
		h.ko(w, r, auth.Status, auth.Code, auth.Description)
	case errors.As(err, &refusal):
		retryAfter(w, refusal.RetryAfter)
		if refusal.Scope != "" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="foxbridge", error=%q, scope=%q`, refusal.Code, refusal.Scope))
		}
		h.ko(w, r, statusOf(refusal.Code), string(refusal.Code), refusal.Text)
	case errors.As(err, &outcome):
		h.failOutcome(w, r, outcome.command)
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		h.log.DebugContext(r.Context(), "client went away", "err", err)
		h.ko(w, r, http.StatusServiceUnavailable, "server_error", "The request was given up")
	default:
		h.log.ErrorContext(r.Context(), "request failed", "err", err)
		h.ko(w, r, http.StatusInternalServerError, "server_error", "The server failed")
	}
}

func (h *Handler) failOutcome(w http.ResponseWriter, r *http.Request, c devices.Command) {
	switch c.Outcome {
	case devices.Refused:
		text := "The unit refused the command"
		if c.Reason != "" {
			text += ": " + c.Reason
		}
		h.ko(w, r, http.StatusConflict, "unit_refused", text)
	case devices.Offline:
		retryAfter(w, devices.OfflineRetry)
		h.ko(w, r, http.StatusServiceUnavailable, "unit_offline", "The unit is offline; nothing was sent")
	default:
		h.ko(w, r, http.StatusGatewayTimeout, "outcome_unknown", "The unit did not answer in time; whether it acted is unknown")
	}
}

// retryAfter sets Retry-After in whole seconds, rounded up; nothing for zero.
func retryAfter(w http.ResponseWriter, d time.Duration) {
	if d > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(seconds(d), 10))
	}
}
