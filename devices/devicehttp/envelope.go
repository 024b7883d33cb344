package devicehttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
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
	URI         string        // error_uri: a page that tells more; empty for none
	Explanation any           // tells programs more, as JSON; nil for none
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
	ErrorURI         string `json:"error_uri,omitempty"`
	Explanation      any    `json:"explanation,omitempty"`
	// Devices are those that did not do what was asked of a group or a scenario.
	Devices []undone `json:"devices,omitempty"`
}

func (e envelope) encode() ([]byte, error) {
	payload, is := e.Payload.(appender)
	if !is || e.Status != "OK" {
		return encode(e)
	}
	b := strconv.AppendInt(append(make([]byte, 0, 4<<10), `{"status":"OK","timestamp":`...), e.Timestamp, 10)
	b, err := payload.appendJSON(append(b, `,"payload":`...))
	return append(b, '}'), err
}

// items is the payload of a list: never null.
type items[T any] struct {
	Items []T `json:"items"`
}

// bare is a payload of which the rows of old have the array alone.
type bare interface{ bare() any }

func (i items[T]) bare() any { return list[T](i.Items) }

// object is a JSON object whose keys are not known before the catalogue says them.
type object []member

type member struct {
	key   string
	value any
}

// appender is a payload that writes itself, which takes a fraction of the time of
// encoding/json: lists can be long.
type appender interface {
	appendJSON(b []byte) ([]byte, error)
}

func (i items[T]) appendJSON(b []byte) ([]byte, error) {
	b, err := list[T](i.Items).appendJSON(append(b, `{"items":`...))
	return append(b, '}'), err
}

// list is an array.
type list[T any] []T

func (l list[T]) appendJSON(b []byte) (_ []byte, err error) {
	b = append(b, '[')
	for i, v := range l {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendValue(b, v); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func (o object) appendJSON(b []byte) (_ []byte, err error) {
	b = append(b, '{')
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), m.key...), '"', ':') // keys are ours, and plain
		if b, err = appendValue(b, m.value); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case appender:
		return v.appendJSON(b)
	case bool:
		return strconv.AppendBool(b, v), nil
	case []object:
		return list[object](v).appendJSON(b)
	case string:
		return appendText(b, v)
	}
	text, err := encode(v)
	return append(b, text...), err
}

func appendText(b []byte, s string) ([]byte, error) {
	if plain(s) {
		return append(append(append(b, '"'), s...), '"'), nil
	}
	text, err := encode(s)
	return append(b, text...), err
}

// plain reports whether a string stands in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return true
}

// encode is json.Marshal without the escapes of HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// undone is a device that did not do what was asked of it, and why.
type undone struct {
	DeviceID         *int64 `json:"deviceId"` // null for the alarm
	Label            string `json:"label"`
	Operation        string `json:"operation"`
	CommandID        string `json:"commandId,omitempty"` // of its record, if it was accepted
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
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

// partsError carries what was asked of several devices and not done by all.
type partsError struct{ parts []devices.Part }

func (e *partsError) Error() string { return "not all devices did it" }

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
	body, err := e.encode()
	if err != nil {
		h.log.ErrorContext(r.Context(), "answer not encoded", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		h.log.DebugContext(r.Context(), "answer not sent", "err", err)
	}
}

// StatusOf is the one table from a refusal to its HTTP status. 400 is not in it: a
// client takes that for a token that is no good.
func StatusOf(code devices.RefusalCode) int {
	switch code {
	case devices.NoSuch:
		return http.StatusNotFound
	case devices.LaneFull, devices.BudgetSpent:
		return http.StatusTooManyRequests
	case devices.KeyReuse, devices.BadKey, devices.BadFilter:
		return http.StatusUnprocessableEntity
	case devices.MissingScope, devices.GuestLooks, devices.NotOwner:
		return http.StatusForbidden
	case devices.OutdatedUnit, devices.WrongType:
		return http.StatusConflict
	case devices.NotMade:
		return http.StatusNotImplemented
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
	var parts *partsError
	switch {
	case errors.As(err, &auth):
		if auth.Challenge != "" {
			w.Header().Set("WWW-Authenticate", auth.Challenge)
		}
		retryAfter(w, auth.RetryAfter)
		h.write(w, r, auth.Status, envelope{
			Status: "KO", Timestamp: h.now().Unix(), Error: auth.Code, ErrorDescription: auth.Description,
			ErrorURI: auth.URI, Explanation: auth.Explanation,
		})
	case errors.As(err, &refusal):
		retryAfter(w, refusal.RetryAfter)
		if refusal.Scope != "" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="foxbridge", error=%q, scope=%q`, refusal.Code, refusal.Scope))
		}
		h.ko(w, r, StatusOf(refusal.Code), string(refusal.Code), refusal.Text)
	case errors.As(err, &outcome):
		h.failOutcome(w, r, outcome.command)
	case errors.As(err, &parts):
		h.failParts(w, r, parts.parts)
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		h.log.DebugContext(r.Context(), "client went away", "err", err)
		h.unanswered(w, r)
	case h.outage(r.Context(), err):
		h.unanswered(w, r)
	default:
		h.log.ErrorContext(r.Context(), "request failed", "err", err)
		h.ko(w, r, http.StatusInternalServerError, "server_error", "The server failed")
	}
}

// CodeUnavailable is the error of an answer that has to be asked for again later: the
// record gives no answer, or the bridge is stopping. A command that is answered with it was
// not sent, unless it repeats one that was: accepting it, or what came before, failed.
const CodeUnavailable = "temporarily_unavailable"

// outageRetry is when to ask again then. A command that may be on record already is
// joined by a repeat until well after that.
const outageRetry = 5 * time.Second

const unavailableText = "The server cannot answer at the moment; try again later"

func (h *Handler) unanswered(w http.ResponseWriter, r *http.Request) {
	retryAfter(w, outageRetry)
	h.ko(w, r, http.StatusServiceUnavailable, CodeUnavailable, unavailableText)
}

// unavailable is the outage of who is told of none; see Options.
func (h *Handler) unavailable(ctx context.Context, err error) bool {
	if !errors.Is(err, devices.ErrUnavailable) {
		return false
	}
	h.log.ErrorContext(ctx, "record gives no answer", "err", err)
	return true
}

func (h *Handler) failOutcome(w http.ResponseWriter, r *http.Request, c devices.Command) {
	status, code, text := OutcomeOnWire(c)
	if c.Outcome == devices.Offline {
		retryAfter(w, devices.OfflineRetry)
	}
	h.ko(w, r, status, code, text)
}

// OutcomeOnWire tells of a command that was not done.
func OutcomeOnWire(c devices.Command) (status int, code, text string) {
	switch {
	case c.Outcome == devices.Refused && c.Reason != "":
		return http.StatusConflict, "unit_refused", "The unit refused the command: " + c.Reason
	case c.Outcome == devices.Refused:
		return http.StatusConflict, "unit_refused", "The unit refused the command"
	case c.Outcome == devices.Offline:
		return http.StatusServiceUnavailable, "unit_offline", "The unit is offline; nothing was sent"
	default:
		return http.StatusGatewayTimeout, "outcome_unknown", "The unit did not answer in time; whether it acted is unknown"
	}
}

// failParts names each device that did not do it, and why. If it is the same for all
// devices the answer is that of one device, else 409.
func (h *Handler) failParts(w http.ResponseWriter, r *http.Request, parts []devices.Part) {
	var list []undone
	var texts []string
	statuses := map[int]bool{}
	for _, p := range parts {
		if p.Done() {
			continue
		}
		status, code, text := h.partOnWire(r, p)
		statuses[status] = true
		u := undone{Label: p.Device.Label, Operation: p.Operation, CommandID: p.Command.ID, Error: code, ErrorDescription: text}
		name := "the alarm"
		if p.Device.ID != devices.SecurityDevice {
			u.DeviceID = &p.Device.ID
			name = fmt.Sprintf("%d %s", p.Device.ID, p.Device.Label)
		}
		list, texts = append(list, u), append(texts, name+": "+text)
	}
	e := envelope{
		Status: "KO", Timestamp: h.now().Unix(), Error: "not_all_done", Devices: list,
		ErrorDescription: fmt.Sprintf("Not done by %d of %d: %s", len(list), len(parts), strings.Join(texts, "; ")),
	}
	status := http.StatusConflict
	if len(statuses) == 1 && len(list) == len(parts) {
		for only := range statuses {
			status = only
		}
		e.Error = list[0].Error
	}
	if status == http.StatusServiceUnavailable {
		retryAfter(w, devices.OfflineRetry)
	}
	h.write(w, r, status, e)
}

func (h *Handler) partOnWire(r *http.Request, p devices.Part) (status int, code, text string) {
	if p.Err == nil {
		return OutcomeOnWire(p.Command)
	}
	var refusal *devices.Refusal
	if errors.As(p.Err, &refusal) {
		return StatusOf(refusal.Code), string(refusal.Code), refusal.Text
	}
	if h.outage(r.Context(), p.Err) {
		return http.StatusServiceUnavailable, CodeUnavailable, unavailableText
	}
	h.log.ErrorContext(r.Context(), "command of a group failed", "device", p.Device.ID, "err", p.Err)
	return http.StatusInternalServerError, "server_error", "The server failed"
}

// retryAfter sets Retry-After in whole seconds, rounded up; nothing for zero.
func retryAfter(w http.ResponseWriter, d time.Duration) {
	if d > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(seconds(d), 10))
	}
}
