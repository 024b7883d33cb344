package oauthhttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// codeServerError is the error of an answer for which the server is to blame.
const codeServerError = "server_error"

// errMethod marks the refusal of a method.
var errMethod = errors.New("method not allowed")

// failure is RFC 6749 section 5.2.
type failure struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// refuse answers what the Service never saw.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, refusal *oauth.Error) {
	h.refused(refusal.Reason)
	h.answer(w, r, refusal)
}

// answer turns any error into the answer for it, and logs one line. What it does not
// know shows nothing of its inside.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		refusal = h.unknown(r, err)
	} else {
		h.logRefusal(r, refusal)
	}
	status := statusOf(r, refusal)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+realm+`"`)
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(refusal.RetryAfter))
	}
	write(w, status, failure{refusal.Code, refusal.Description})
}

// unknown is the refusal that stands for an error that is none.
func (h *Handler) unknown(r *http.Request, err error) *oauth.Error {
	if r.Context().Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		h.log.LogAttrs(r.Context(), slog.LevelInfo, "token request given up", slog.Any("err", err))
		return &oauth.Error{
			Code: oauth.CodeUnavailable, Description: "The request was given up; try again", RetryAfter: time.Second,
		}
	}
	h.log.LogAttrs(r.Context(), slog.LevelError, "token request failed", slog.Any("err", err))
	return &oauth.Error{Code: codeServerError, Description: "The server failed"}
}

// logRefusal names the client only once it has proved to be that client.
func (h *Handler) logRefusal(r *http.Request, refusal *oauth.Error) {
	attrs := []slog.Attr{
		slog.String("error", refusal.Code),
		slog.String("reason", refusal.Reason),
		slog.String("remote", h.address(r).String()),
	}
	if refusal.ClientID != "" {
		attrs = append(attrs, slog.String("client_id", refusal.ClientID))
	}
	h.log.LogAttrs(r.Context(), slog.LevelInfo, "token request refused", attrs...)
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
	case oauth.CodeSlowDown:
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
