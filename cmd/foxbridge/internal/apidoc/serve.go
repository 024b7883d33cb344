package apidoc

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/internal/web"
)

// maxAge is short: the document changes with the next version of the bridge.
const maxAge = "public, max-age=300"

// Register adds the document to r, with and without a slash at its end. Who has it
// already, and says so, is not sent it again; who takes it compressed is sent it so.
func (d *Document) Register(r *mux.Router) {
	packed := sync.OnceValue(func() []byte { return web.Gzip(d.made().text) })
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuse(w)
			return
		}
		h.Set("Content-Type", mediaJSON)
		h.Set("Cache-Control", maxAge)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Add("Vary", "Accept-Encoding")
		r.Header.Del("Range") // a part of it is no JSON
		content, name := d.made().text, d.made().tag
		if web.TakesGzip(r) {
			content, name = packed(), name+"-gzip"
			h.Set("Content-Encoding", "gzip")
			h.Set("Content-Length", strconv.Itoa(len(content)))
		}
		h.Set(headerETag, `"`+name+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	r.Handle(Path, serve)
	r.Handle(Path+"/", serve)
}

// refuse answers another method.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Allow", strings.Join([]string{http.MethodGet, http.MethodHead}, ", "))
	w.Header().Set("Content-Type", mediaJSON)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusMethodNotAllowed)
	// What fails here is the connection: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": "method_not_allowed", "error_description": "The path does not take this method"})
}
