package apidoc

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"

	"github.com/foxbridge/foxbridge/internal/web"
)

//go:embed templates/*.html
var pageTemplates embed.FS

//go:embed messages/*.json
var pageMessages embed.FS

//go:embed assets/*
var pageAssets embed.FS

// Where the page is, and the message key of its name in the navigation.
const (
	PagePath  = "/dev/docs"
	PageLabel = "docs.nav"
)

// Page is the document for people to read and try: Swagger UI, which is in the binary,
// and without JavaScript a plain list of the operations.
type Page struct{ document *Document }

// NewPage makes the page of a document.
func NewPage(d *Document) *Page { return &Page{d} }

// Templates are those of the page, as web.Options takes them.
func (p *Page) Templates() fs.FS { return below(pageTemplates, "templates") }

// Messages are those of the page.
func (p *Page) Messages() fs.FS { return below(pageMessages, "messages") }

// Assets are the static files of the page.
func (p *Page) Assets() fs.FS { return below(pageAssets, "assets") }

func below(files embed.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil { // the directory's name is a constant
		panic(err)
	}
	return sub
}

// pageView is the data of the page.
type pageView struct {
	Document    string // path of the document
	Conventions []convention
	Groups      []Group
}

// convention is a Convention for a template.
type convention struct {
	ID    string // of its place on the page
	Name  string
	Parts []part
}

type part struct {
	Text string
	Code bool
}

func shownConventions(all []Convention) []convention {
	var list []convention
	for _, c := range all {
		shown := convention{ID: strings.ReplaceAll(strings.ToLower(c.Name), " ", "-"), Name: c.Name}
		for i, text := range strings.Split(c.Text, "`") {
			shown.Parts = append(shown.Parts, part{text, i%2 == 1})
		}
		list = append(list, shown)
	}
	return list
}

// Serve answers with the page in the layout of site.
func (p *Page) Serve(site *web.Pages, w http.ResponseWriter, r *http.Request) {
	site.Render(w, r, http.StatusOK, "docs", pageView{Document: Path, Conventions: shownConventions(p.document.Conventions()), Groups: p.document.Groups()})
}
