package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed static/*
var staticFiles embed.FS

//go:embed messages/*.json
var messageFiles embed.FS

//go:embed templates/*.html
var templateFiles embed.FS

func ownAssets() fs.FS   { return below(staticFiles, "static") }
func ownMessages() fs.FS { return below(messageFiles, "messages") }

func below(files embed.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil { // the directory's name is a constant
		panic(err)
	}
	return sub
}

// StaticPath is the prefix of the paths of static files.
const StaticPath = "/static/"

// asset is a static file.
type asset struct {
	hash, media string
	packed      func() []byte // the content compressed, as almost everybody takes it
	content     []byte        // nil: the file is kept compressed
	size        int           // of the content
}

// assets are static files by name.
type assets struct{ files map[string]asset }

func readAssets(sources []fs.FS) (*assets, error) {
	a := &assets{files: make(map[string]asset)}
	for _, source := range sources {
		entries, err := fs.ReadDir(source, ".")
		if err != nil {
			return nil, fmt.Errorf("list static files: %w", err)
		}
		for _, entry := range entries {
			if err := a.read(source, entry); err != nil {
				return nil, fmt.Errorf("static file %s: %w", entry.Name(), err)
			}
		}
	}
	return a, nil
}

func (a *assets) read(source fs.FS, entry fs.DirEntry) error {
	name, isPacked := strings.CutSuffix(entry.Name(), ".gz")
	media := assetType(name)
	switch _, twice := a.files[name]; {
	case !entry.Type().IsRegular():
		return errors.New("is not a file")
	case twice:
		return errors.New("is there twice")
	case media == "":
		return errors.New("is of no known type")
	}
	content, err := fs.ReadFile(source, entry.Name())
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	file := asset{hash: hex.EncodeToString(sum[:8]), media: media, content: content, size: len(content)}
	file.packed = sync.OnceValue(func() []byte { return Gzip(content) })
	if isPacked {
		if file.size, err = sizeOf(content); err != nil {
			return err
		}
		file.packed, file.content = func() []byte { return content }, nil
	}
	a.files[name] = file
	return nil
}

// sizeOf is how much a compressed file holds, as its last four bytes tell (RFC 1952
// section 2.3.1). It fails if the file does not begin as one.
func sizeOf(packed []byte) (int, error) {
	if _, err := gzip.NewReader(bytes.NewReader(packed)); err != nil {
		return 0, err
	}
	return int(binary.LittleEndian.Uint32(packed[len(packed)-4:])), nil
}

// serve sends the file, compressed to who takes that.
func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.media)
	h.Add("Vary", "Accept-Encoding")
	if TakesGzip(r) {
		packed := a.packed()
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(packed)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(packed) // what fails is the connection: there is nobody left to tell
		}
		return
	}
	h.Set("Content-Length", strconv.Itoa(a.size))
	if r.Method == http.MethodHead {
		return
	}
	if a.content != nil {
		_, _ = w.Write(a.content)
		return
	}
	if z, err := gzip.NewReader(bytes.NewReader(a.packed())); err == nil { // its beginning was read before
		_, _ = io.Copy(w, z) //nolint:gosec // a file of the binary
	}
}

func assetType(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".json":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".ico":
		return "image/x-icon"
	case ".woff2":
		return "font/woff2"
	case ".txt":
		return "text/plain; charset=utf-8"
	default:
		return ""
	}
}

// path is where a file is served. The path changes with the content.
func (a *assets) path(name string) (string, error) {
	file, ok := a.files[name]
	if !ok {
		return "", fmt.Errorf("there is no static file %q", name)
	}
	return StaticPath + file.hash + "/" + name, nil
}

// Static serves the static files below StaticPath, compressed to who takes that, for good: a file that changes gets
// another path. The path of an earlier content gives the present one, without leave to
// keep it, so that pages of a bridge that is of another version stay whole.
func (p *Pages) Static() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, StaticPath), "/")
		file, ok := p.assets.files[name]
		switch {
		case !ok:
			p.Error(w, r, http.StatusNotFound, "")
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			p.Error(w, r, http.StatusMethodNotAllowed, "")
			return
		}
		h := w.Header()
		p.writeCommon(h)
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if hash == file.hash {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		file.serve(w, r)
	})
}
