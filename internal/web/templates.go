package web

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
	"time"
)

// errorPage is the page that Error renders.
const errorPage = "error"

func (p *Pages) functions(lang Language) template.FuncMap {
	s := speaker{lang: lang, text: p.text}
	return template.FuncMap{
		"t":        s.translate,
		"notice":   s.notice,
		"field":    s.field,
		"submit":   s.submit,
		"faults":   s.faults,
		"copyable": func(id, text string) Copyable { return Copyable{ID: id, Text: text} },
		"asset":    p.assets.path,
		"lang":     func() string { return string(lang) },
		"number":   func(n any) (string, error) { return number(lang, n) },
		"date":     func(t time.Time) template.HTML { return p.text.dateElement(lang, t) },
		"daymonth": func(t time.Time) string { return dayMonth(lang, t) },
		"datetime": func(t time.Time) template.HTML { return p.text.datetimeElement(lang, t) },
		"utc":      func(t time.Time) template.HTML { return p.text.utcElement(lang, t) },
		"current":  current,
		"lineID":   func(id string, i int) string { return id + "-" + strconv.Itoa(i) },
	}
}

// current tells whether a link to path is one to the page itself or to one above it.
func current(page, path string) bool {
	return page == path || path != "/" && strings.HasPrefix(page, strings.TrimSuffix(path, "/")+"/")
}

// readTemplates parses all pages once in each language, so that their functions need
// not be told which it is.
func (p *Pages) readTemplates(sources []fs.FS) (map[Language]map[string]*template.Template, error) {
	sets := make(map[Language]map[string]*template.Template)
	own := below(templateFiles, "templates")
	for _, lang := range languages() {
		base := template.New("").Funcs(p.functions(lang))
		if err := p.addPartials(base, own); err != nil {
			return nil, err
		}
		sets[lang] = make(map[string]*template.Template)
		if err := p.readPages(sets[lang], base, own); err != nil {
			return nil, err
		}
		for _, source := range sources {
			shared, err := base.Clone()
			if err != nil {
				return nil, err
			}
			if err := p.addPartials(shared, source); err != nil {
				return nil, err
			}
			if err := p.readPages(sets[lang], shared, source); err != nil {
				return nil, err
			}
		}
	}
	return sets, nil
}

// readPages adds the pages of source to pages. All of them have what shared defines.
func (p *Pages) readPages(pages map[string]*template.Template, shared *template.Template, source fs.FS) error {
	names, err := fs.Glob(source, "*.html")
	if err != nil {
		return err
	}
	for _, file := range names {
		name := strings.TrimSuffix(file, ".html")
		if strings.HasPrefix(name, "_") {
			continue
		}
		if _, twice := pages[name]; twice {
			return fmt.Errorf("page %s is there twice", name)
		}
		if pages[name], err = p.readPage(shared, source, file); err != nil {
			return fmt.Errorf("page %s: %w", name, err)
		}
	}
	return nil
}

func (p *Pages) readPage(shared *template.Template, source fs.FS, file string) (*template.Template, error) {
	page, err := shared.Clone()
	if err != nil {
		return nil, err
	}
	if err := p.addFile(page, source, file); err != nil {
		return nil, err
	}
	for _, part := range []string{"title", "main"} {
		if page.Lookup(part) == nil {
			return nil, fmt.Errorf("defines no %q", part)
		}
	}
	if page.Lookup("class") == nil {
		if _, err := page.New("class").Parse(""); err != nil {
			return nil, err
		}
	}
	// Templates are escaped when they are first executed, and only then can what is
	// wrong with them be known. That there are no data is an error of another type.
	err = page.ExecuteTemplate(io.Discard, "layout", view{})
	if wrong, ok := errors.AsType[*template.Error](err); ok {
		return nil, wrong
	}
	return page, nil
}

// addPartials adds what the files of partials in source define.
func (p *Pages) addPartials(to *template.Template, source fs.FS) error {
	files, err := fs.Glob(source, "_*.html")
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := p.addFile(to, source, file); err != nil {
			return fmt.Errorf("template %s: %w", file, err)
		}
	}
	return nil
}

// addFile adds what a file defines. It refuses a name that is defined already.
func (p *Pages) addFile(to *template.Template, source fs.FS, file string) error {
	content, err := fs.ReadFile(source, file)
	if err != nil {
		return err
	}
	own, err := template.New(file).Funcs(p.functions(English)).Parse(string(content))
	if err != nil {
		return err
	}
	for _, t := range own.Templates() {
		if t.Name() == file || t.Tree == nil {
			continue
		}
		if to.Lookup(t.Name()) != nil {
			return fmt.Errorf("%q is defined already", t.Name())
		}
		if err := p.check(t.Tree.Root); err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
		if _, err := to.AddParseTree(t.Name(), t.Tree); err != nil {
			return err
		}
	}
	return nil
}

// check looks at the message keys and asset names that are written out in a template.
func (p *Pages) check(root parse.Node) error {
	var wrong []error
	for _, command := range commands(root) {
		if err := p.checkCommand(command); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

func (p *Pages) checkCommand(c *parse.CommandNode) error {
	function, ok := c.Args[0].(*parse.IdentifierNode)
	if !ok {
		return nil
	}
	// At which argument the key is, and how many that are not the message's come before.
	keyAt := map[string]int{"t": 1, "notice": 2, "submit": 1, "field": 3, "asset": 1}[function.Ident]
	if keyAt == 0 || len(c.Args) <= keyAt {
		return nil
	}
	for at := keyAt + 1; at+1 < len(c.Args) && function.Ident == "field"; at += 2 {
		if literal(c.Args[at]) == "hint" && literal(c.Args[at+1]) != "" {
			if err := p.text.accepts(literal(c.Args[at+1]), 0); err != nil {
				return err
			}
		}
	}
	key := literal(c.Args[keyAt])
	switch {
	case key == "":
		return nil
	case function.Ident == "asset":
		_, err := p.assets.path(key)
		return err
	case function.Ident == "t", function.Ident == "notice":
		return p.text.accepts(key, len(c.Args)-keyAt-1)
	default:
		return p.text.accepts(key, 0)
	}
}

func literal(n parse.Node) string {
	if s, ok := n.(*parse.StringNode); ok {
		return s.Text
	}
	return ""
}

// commands are all commands below a node, also those in parentheses.
func commands(n parse.Node) []*parse.CommandNode {
	var all []*parse.CommandNode
	visit := func(nodes ...parse.Node) {
		for _, n := range nodes {
			all = append(all, commands(n)...)
		}
	}
	branch := func(b parse.BranchNode) {
		visit(b.Pipe, b.List)
		if b.ElseList != nil {
			visit(b.ElseList)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		visit(n.Nodes...)
	case *parse.ActionNode:
		visit(n.Pipe)
	case *parse.IfNode:
		branch(n.BranchNode)
	case *parse.RangeNode:
		branch(n.BranchNode)
	case *parse.WithNode:
		branch(n.BranchNode)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			visit(n.Pipe)
		}
	case *parse.ChainNode:
		visit(n.Node)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			all = append(all, c)
			visit(c.Args...)
		}
	}
	return all
}

// Names lists the pages, sorted.
func (p *Pages) Names() []string { return slices.Sorted(maps.Keys(p.sets[English])) }
