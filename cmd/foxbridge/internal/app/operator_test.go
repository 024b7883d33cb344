package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func saying(what string) func(context.Context) string {
	return func(context.Context) string { return what }
}

// ask makes one request of an operator's listener with these probes.
func ask(t *testing.T, method, path string, probes ...probe) *httptest.ResponseRecorder {
	t.Helper()
	h := operatorHandler(prometheus.NewRegistry(), probes, nil, false, slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestReadinessNamesWhatFails(t *testing.T) {
	t.Parallel()
	w := ask(t, "GET", "/readyz", probe{"store", saying("")}, probe{"link", saying("")})
	require.Equal(t, http.StatusOK, w.Code)
	require.JSONEq(t, `{"ready":true,"failing":{}}`, w.Body.String())

	w = ask(t, "GET", "/readyz", probe{"store", saying("does not answer")}, probe{"link", saying("")}, probe{"process", saying("is stopping")})
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.JSONEq(t, `{"ready":false,"failing":{"store":"does not answer","process":"is stopping"}}`, w.Body.String())
}

func TestProbesAreBounded(t *testing.T) {
	t.Parallel()
	var until time.Time
	ask(t, "GET", "/readyz", probe{"store", func(ctx context.Context) string {
		until, _ = ctx.Deadline()
		return ""
	}})
	require.WithinDuration(t, time.Now().Add(probeTimeout), until, time.Second)
}

func TestHealthDependsOnNothing(t *testing.T) {
	t.Parallel()
	w := ask(t, "GET", "/healthz", probe{"store", saying("does not answer")})
	require.Equal(t, http.StatusOK, w.Code)
}

func TestOperatorsListenerIsReadOnly(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		require.Equal(t, http.StatusMethodNotAllowed, ask(t, "POST", path).Code, path)
	}
	require.Equal(t, http.StatusNotFound, ask(t, "GET", "/").Code)
	require.Equal(t, http.StatusNotFound, ask(t, "POST", "/alerts").Code, "without an alert-token")
}
