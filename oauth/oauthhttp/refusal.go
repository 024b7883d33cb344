package oauthhttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// codeServerError is the error of an answer for which the server is to blame.
const codeServerError = "server_error"

// outageRetry is when to ask again while the record gives no answer: well within the time
// for which a repeated refresh gets the same tokens.
const outageRetry = 5 * time.Second

// outageBy is given, or else the outage of who is told of none; see Options.
func outageBy(given func(context.Context, error) bool, log *slog.Logger) func(context.Context, error) bool {
	if given != nil {
		return given
	}
	return func(ctx context.Context, err error) bool {
		if !errors.Is(err, oauth.ErrUnavailable) {
			return false
		}
		log.LogAttrs(ctx, slog.LevelError, "record gives no answer", slog.Any("err", err))
		return true
	}
}

// errMethod marks the refusal of a method.
var errMethod = errors.New("method not allowed")

// failure is RFC 6749 section 5.2.
type failure struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	URI         string `json:"error_uri,omitempty"`
	Explanation any    `json:"explanation,omitempty"`
}

// explanation is an oauth.Explanation in JSON.
type explanation struct {
	By        oauth.Actor `json:"by"`
	Since     string      `json:"since"` // RFC 3339, as all times here
	Rule      string      `json:"rule,omitempty"`
	Window    int64       `json:"window_seconds,omitempty"`
	Count     int         `json:"count,omitempty"`
	Inherited int         `json:"inherited,omitempty"` // of Count
	Allowed   int         `json:"allowed,omitempty"`
	First     string      `json:"first,omitempty"`
	Last      string      `json:"last,omitempty"`
	Reason    string      `json:"reason,omitempty"`
	Advice    string      `json:"advice"`
}

// RuleName is what a rule is called in answers and events.
func RuleName(r oauth.Rule) string { return "wasteful_tokens_per_" + string(r) }

// Rules are all RuleNames.
func Rules() []string { return []string{RuleName(oauth.RuleHour), RuleName(oauth.RuleDay)} }

// Explain gives the explanation that goes with a refusal in its JSON body; nil if
// there is none. It says why an application is switched off, and what to do.
func Explain(refusal *oauth.Error) any {
	e := refusal.Explanation
	if e == nil {
		return nil
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	told := explanation{By: e.Actor, Since: at(e.At), Reason: e.Reason, Advice: e.Advice}
	if e.Rule != "" {
		told.Rule = RuleName(e.Rule)
		told.Window, told.Count, told.Inherited, told.Allowed = int64(e.Window/time.Second), e.Used, e.Inherited, e.Allowed
		told.First, told.Last = at(e.First), at(e.Last)
	}
	return told
}

// fail turns any error into the answer for it, and logs one line. What it does not
// know shows nothing of its inside.
func (e *endpoint) fail(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		refusal = e.unknown(r, err)
	} else {
		e.logRefusal(r, refusal)
	}
	status := statusOf(r, refusal)
	if e.always401 && refusal.Code == oauth.CodeInvalidClient {
		status = http.StatusUnauthorized
	}
	if challenge := e.challenge(status, refusal); challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", strings.Join(e.methods, ", "))
	}
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(refusal.RetryAfter))
	}
	write(w, status, failure{refusal.Code, refusal.Description, refusal.URI, Explain(refusal)})
}

// challenge is the WWW-Authenticate of a refusal; empty for none.
func (e *endpoint) challenge(status int, refusal *oauth.Error) string {
	switch {
	case e.bearer && status != http.StatusMethodNotAllowed:
		return e.WWWAuthenticate(refusal)
	case status == http.StatusUnauthorized:
		return `Basic realm="` + realm + `"`
	default:
		return ""
	}
}

// unknown is the refusal that stands for an error that is none.
func (e *endpoint) unknown(r *http.Request, err error) *oauth.Error {
	if r.Context().Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		e.log.LogAttrs(r.Context(), slog.LevelInfo, e.name+" request given up", slog.Any("err", err))
		return &oauth.Error{
			Code: oauth.CodeUnavailable, Description: "The request was given up; try again", RetryAfter: time.Second,
		}
	}
	if e.outage(r.Context(), err) {
		return &oauth.Error{
			Code: oauth.CodeUnavailable, Description: "The server cannot answer at the moment; try again later", RetryAfter: outageRetry,
		}
	}
	e.log.LogAttrs(r.Context(), slog.LevelError, e.name+" request failed", slog.Any("err", err))
	return &oauth.Error{Code: codeServerError, Description: "The server failed"}
}

// logRefusal names the client only once it has proved to be that client.
func (e *endpoint) logRefusal(r *http.Request, refusal *oauth.Error) {
	attrs := []slog.Attr{
		slog.String("error", refusal.Code),
		slog.String("reason", refusal.Reason),
		slog.String("remote", e.address(r).String()),
	}
	if refusal.ClientID != "" {
		attrs = append(attrs, slog.String("client_id", refusal.ClientID))
	}
	e.log.LogAttrs(r.Context(), slog.LevelInfo, e.name+" request refused", attrs...)
}

// statusOf is the table from refusals to HTTP.
func statusOf(r *http.Request, refusal *oauth.Error) int {
	if errors.Is(refusal.Err, errMethod) {
		return http.StatusMethodNotAllowed
	}
	if _, ok := errors.AsType[*http.MaxBytesError](refusal.Err); ok {
		return http.StatusRequestEntityTooLarge
	}
	switch refusal.Code {
	case oauth.CodeInvalidClient:
		// RFC 6749 section 5.2 wants 401 when the header was used. Otherwise it may be
		// 400, which it must be here: there are clients that answer any 401 with
		// another refresh, for ever.
		if usesBasic(r) {
			return http.StatusUnauthorized
		}
		return http.StatusBadRequest
	case oauth.CodeInvalidToken:
		return http.StatusUnauthorized
	case codeInsufficientScope:
		return http.StatusForbidden
	case oauth.CodeSlowDown:
		if refusal.RetryAfter == 0 {
			return http.StatusBadRequest // RFC 8628 section 3.5
		}
		return http.StatusTooManyRequests
	case oauth.CodeUnavailable:
		return http.StatusServiceUnavailable
	case codeServerError:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

// seconds is the form of Retry-After: whole seconds, never too few.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
