package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/internal/limit"
	"github.com/foxbridge/foxbridge/oauth/oauthhttp"
)

// maxBody bounds the body of a request, in bytes, but for that of an upload; see routed.
const maxBody = 64 << 10

// exchange is what is known of a request beside the request itself. One goroutine
// at a time works on it.
type exchange struct {
	id       string
	route    string        // template of the route, "unmatched" without one
	clientID string        // of the caller, once the token was checked
	limits   []limit.State // that the caller was counted by; see noteLimit
	body     io.ReadCloser // of the request, without a bound
}

type exchangeKey struct{}

// exchangeOf gives the exchange that ctx belongs to, or nil.
func exchangeOf(ctx context.Context) *exchange {
	e, _ := ctx.Value(exchangeKey{}).(*exchange)
	return e
}

// begun is told that the header of the answer to a request is about to be sent, and
// may add to it.
type begun func(r *http.Request, e *exchange, header http.Header)

// answered is told each request that was answered.
type answered func(route, method string, code int, took time.Duration)

// observed wraps the public listener's handler: it gives each request an id and a bound
// for its body, turns a panic into an answer, lets begin add to the header of every
// answer, and when that is written logs one line and tells the observer. The line never
// holds a query, a header or a body: they carry tokens.
func observed(next http.Handler, remote func(*http.Request) string, log *slog.Logger, begin begun, tell answered) http.Handler {
	next = recovered(next, log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		e := &exchange{id: requestID(r), route: "unmatched", body: r.Body}
		ctx := context.WithValue(r.Context(), exchangeKey{}, e)
		r = r.WithContext(ctx)
		out := &recorder{ResponseWriter: w, begin: func() { begin(r, e, w.Header()) }}
		out.Header().Set("X-Request-Id", e.id)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		defer func() {
			took := time.Since(began)
			tell(e.route, r.Method, out.code(), took)
			log.LogAttrs(ctx, slog.LevelInfo, "request",
				slog.String("method", cut(r.Method, 16)), slog.String("route", e.route), slog.String("path", loggable(e.route, r.URL.Path)),
				slog.Int("status", out.code()), slog.Int64("bytes", out.bytes),
				slog.Float64("duration_ms", float64(took.Microseconds())/1000),
				slog.String("client_id", e.clientID), slog.String("remote", remote(r)))
		}()
		next.ServeHTTP(out, r)
		if out.status == 0 { // net/http answers for who has written nothing
			out.begin()
		}
	})
}

// loggable is the path if it is one of ours to the letter; clients have put their
// tokens into paths by mistake.
func loggable(route, path string) string {
	if route == "unmatched" || len(path) > 128 || strings.Trim(path, idCharacters+"/") != "" || longHex.MatchString(path) {
		return ""
	}
	return path
}

var longHex = regexp.MustCompile(`[0-9a-fA-F]{32}`)

const idCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// requestID takes over the id that the client or a proxy gave, if it is harmless.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); 1 <= len(id) && len(id) <= 64 && strings.Trim(id, idCharacters) == "" {
		return id
	}
	b := make([]byte, 8)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}

// recovered answers a request whose handler panicked, in the envelope of the API; if
// an answer was begun it is broken off instead.
func recovered(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			out, is := w.(*recorder)
			if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
				panic(cause)
			}
			log.ErrorContext(r.Context(), "handler panicked", "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
			if is && out.status != 0 {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, `{"status":"KO","timestamp":%d,"error":"server_error","error_description":"The server failed"}`+"\n", time.Now().Unix())
		}()
		next.ServeHTTP(w, r)
	})
}

// routed is middleware of the router: it notes the template of the route that was found,
// and gives that of uploads the bound for a body that uploads have.
func routed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e := exchangeOf(r.Context()); e != nil {
			if template, err := mux.CurrentRoute(r).GetPathTemplate(); err == nil {
				e.route = strings.TrimSuffix(template, "/")
			}
			if e.route == oauthhttp.UploadPath && r.Method == http.MethodPost {
				r.Body = http.MaxBytesReader(w, e.body, oauthhttp.UploadMax)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// recorder notes the status and the size of an answer.
type recorder struct {
	http.ResponseWriter
	begin  func() // called once, before the header is written
	status int    // zero until the header is written
	bytes  int64
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 { // 1xx come before the answer
		w.status = status
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
		w.begin()
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// code is the status that the client sees: a handler that writes nothing answers 200.
func (w *recorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// cut shortens what a client chose to at most n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
