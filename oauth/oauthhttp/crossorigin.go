package oauthhttp

import (
	"net/http"
	"slices"
	"strings"
)

// forAnyOrigin are the paths that pages of any origin may call: those that take a
// token, a secret or a code, and never a cookie, so that nobody's session can be
// borrowed. One that ends in a slash stands for all below it. The authorization
// endpoint and the other pages are not for them, and introspection is for servers.
func forAnyOrigin() []string {
	return []string{
		pathToken,
		pathRevoke,
		pathUserinfo,
		pathAuthorizationServer,
		pathProtectedResource,
		"/v2/",
		"/openapi.json",
	}
}

// What pages of other origins may send and read (Fetch Standard, section 3.3).
const (
	corsMethods = "GET, HEAD, POST"
	corsSends   = "Authorization, Content-Type, Idempotency-Key, Prefer"
	corsReads   = "Foxbridge-Command-Id, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, Location"
	corsMaxAge  = "600" // seconds for which a browser need not ask again
)

// CrossOrigin wraps the whole of the public API. It lets pages of any origin call the
// token, revocation and userinfo endpoints, the metadata and the API below /v2,
// without credentials of the browser's own, and answers the browser's question ahead
// of such a call. Everything else passes through it unchanged.
func CrossOrigin(next http.Handler) http.Handler {
	paths := forAnyOrigin()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.ContainsFunc(paths, func(path string) bool { return below(r.URL.Path, path) }) {
			next.ServeHTTP(w, r)
			return
		}
		// On every answer, so that a cache may give it to any origin.
		header := w.Header()
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Access-Control-Expose-Headers", corsReads)
		if !isPreflight(r) {
			next.ServeHTTP(w, r)
			return
		}
		header.Set("Access-Control-Allow-Methods", corsMethods)
		header.Set("Access-Control-Allow-Headers", corsSends)
		header.Set("Access-Control-Max-Age", corsMaxAge)
		w.WriteHeader(http.StatusNoContent)
	})
}

// below reports whether a path is the one of the list, with or without a slash at its
// end, or below it if that ends in a slash.
func below(path, listed string) bool {
	if strings.HasSuffix(listed, "/") {
		return strings.HasPrefix(path, listed)
	}
	return strings.TrimSuffix(path, "/") == listed
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}
