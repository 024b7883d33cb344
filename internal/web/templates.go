package web

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
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

// set is all templates in one language, so that their functions need not be told which
// it is. What is executed is the layout of a page.
type set struct {
	*template.Template
	functions template.FuncMap
	pages     []string // their names, sorted
}

// layout is the template that all pages have in common.
const layout = "layout"

// parts are what the layout has of a page. In a set these are, as the layout with the
// parts in it is, named for their page: see partOf.
func parts() []string { return []string{"title", "class", "main"} }

func partOf(page, part string) string { return page + "/" + part }

// readTemplates parses all pages and partials.
func (p *Pages) readTemplates(lang Language, sources []fs.FS) (*set, error) {
	functions := p.functions(lang)
	s := &set{Template: template.New("").Funcs(functions), functions: functions}
	for _, source := range append([]fs.FS{below(templateFiles, "templates")}, sources...) {
		if err := p.readSource(s, source); err != nil {
			return nil, err
		}
	}
	for _, page := range s.pages {
		if err := s.lay(page); err != nil {
			return nil, err
		}
	}
	slices.Sort(s.pages)
	return s, nil
}

// readSource adds the pages and partials of source to s.
func (p *Pages) readSource(s *set, source fs.FS) error {
	files, err := fs.Glob(source, "*.html")
	if err != nil {
		return err
	}
	for _, file := range files {
		page := strings.TrimSuffix(file, ".html")
		if strings.HasPrefix(page, "_") {
			page = ""
		}
		if slices.Contains(s.pages, page) {
			return fmt.Errorf("page %s is there twice", page)
		}
		if err := p.readFile(s, source, file, page); err != nil {
			return fmt.Errorf("template %s: %w", file, err)
		}
		if page != "" {
			s.pages = append(s.pages, page)
		}
	}
	return nil
}

// readFile adds what a file defines to s: the parts of a page, or partials if page is
// empty. It refuses a name that is defined already, and a page without a title or a main
// part.
func (p *Pages) readFile(s *set, source fs.FS, file, page string) error {
	content, err := fs.ReadFile(source, file)
	if err != nil {
		return err
	}
	own, err := template.New(file).Funcs(s.functions).Parse(string(content))
	if err != nil {
		return err
	}
	for _, t := range own.Templates() {
		name := t.Name()
		if name == file || t.Tree == nil {
			continue
		}
		if page != "" && slices.Contains(parts(), name) {
			name = partOf(page, name)
		}
		if s.Lookup(name) != nil {
			return fmt.Errorf("%q is defined already", name)
		}
		if err := p.check(t.Tree.Root); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := s.AddParseTree(name, t.Tree); err != nil {
			return err
		}
	}
	if page == "" {
		return nil
	}
	for _, part := range []string{"title", "main"} {
		if s.Lookup(partOf(page, part)) == nil {
			return fmt.Errorf("defines no %q", part)
		}
	}
	if class := partOf(page, "class"); s.Lookup(class) == nil {
		_, err = s.New(class).Parse("")
	}
	return err
}

// lay adds the layout with the parts of a page in it.
func (s *set) lay(page string) error {
	tree := s.Lookup(layout).Tree.Copy()
	for _, node := range tree.Root.Nodes {
		if t, ok := node.(*parse.TemplateNode); ok && slices.Contains(parts(), t.Name) {
			t.Name = partOf(page, t.Name)
		}
	}
	_, err := s.AddParseTree(partOf(page, layout), tree)
	return err
}

// Check reads the templates in all languages, and gives the names of the pages, sorted.
// It refuses templates that cannot be parsed or escaped, a page without "title" or
// "main", a name that is defined twice, and a template that names a message key or an
// asset that is not there or gives a message another number of arguments than it has
// places. It is for tests: otherwise the templates, which are part of the program, are
// read when the first page is rendered.
func (p *Pages) Check() ([]string, error) {
	var pages []string
	for _, read := range p.sets {
		s, err := read()
		if err != nil {
			return nil, err
		}
		for _, page := range s.pages {
			// Templates are escaped when they are first executed, and only then can what is
			// wrong with them be known. That there are no data is an error of another type.
			err := s.ExecuteTemplate(io.Discard, partOf(page, layout), view{})
			if wrong, ok := errors.AsType[*template.Error](err); ok {
				return nil, fmt.Errorf("page %s: %w", page, wrong)
			}
		}
		pages = s.pages
	}
	return slices.Clone(pages), nil
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
