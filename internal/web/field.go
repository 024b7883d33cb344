package web

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Notice is a short message on a page. The partial "notice" shows it.
type Notice struct {
	Kind string // "success", "info", "warning" or "error"
	Text string
}

// Role is how urgently a screen reader says it.
func (n Notice) Role() string {
	if n.Kind == "error" {
		return "alert"
	}
	return "status"
}

// Field is a field of a form with all that belongs to it. The partials "field" and
// "choices" show it; the function "field" makes one.
type Field struct {
	ID, Name          string // of the element, of the field
	Label, Hint       string // texts
	Error             string // text; empty: no fault
	Type              string // of an input; "checkbox" and "radio" for "choices"
	Value             string
	Autocomplete      string
	InputMode         string
	Pattern           string
	MinLength         int
	MaxLength         int
	Rows              int // a text of several lines if above 0
	Required          bool
	Autofocus         bool
	ReadOnly, Checked bool
	Plain             bool // not to be spelt, corrected or capitalized: names, codes, addresses
	Options           []Option
}

// Option is one of several values to choose from.
type Option struct {
	Value    string
	Label    string // text
	Key      string // message, instead of Label
	Hint     string // text; may be empty
	HintKey  string // message, instead of Hint
	Checked  bool   // also when the form does not say so
	Disabled bool
}

// DescribedBy are the ids of the elements that say more about the field.
func (f Field) DescribedBy() string {
	switch {
	case f.Hint != "" && f.Error != "":
		return f.ID + "-hint " + f.ID + "-error"
	case f.Hint != "":
		return f.ID + "-hint"
	case f.Error != "":
		return f.ID + "-error"
	default:
		return ""
	}
}

// Button is a button that sends a form. The partial "submit" shows it.
type Button struct {
	Label, Kind, Name, Value string
}

// Copyable is a text that people take elsewhere, such as a secret that is shown once.
// The partial "copy" shows it; the function "copyable" makes one.
type Copyable struct {
	ID   string // of the element
	Text string
}

// fault is an entry of the summary of a form's errors.
type fault struct{ Target, Text string }

// speaker is the functions of templates in one language.
type speaker struct {
	lang Language
	text *catalogue
}

func (s speaker) translate(key string, args ...any) (string, error) {
	return s.text.translate(s.lang, key, args)
}

func (s speaker) notice(kind, key string, args ...any) (Notice, error) {
	if !slices.Contains([]string{"success", "info", "warning", "error"}, kind) {
		return Notice{}, fmt.Errorf("there is no notice of kind %q", kind)
	}
	text, err := s.translate(key, args...)
	return Notice{Kind: kind, Text: text}, err
}

func (s speaker) submit(key string, settings ...string) (Button, error) {
	label, err := s.translate(key)
	b := Button{Label: label}
	if len(settings)%2 != 0 {
		return b, errors.New("settings of a button come in pairs")
	}
	for pair := range slices.Chunk(settings, 2) {
		switch pair[0] {
		case "kind":
			b.Kind = pair[1]
		case "name":
			b.Name = pair[1]
		case "value":
			b.Value = pair[1]
		default:
			return b, fmt.Errorf("a button has no setting %q", pair[0])
		}
	}
	return b, err
}

func (s speaker) faults(f *Form) ([]fault, error) {
	var all []fault
	for _, e := range f.Errors() {
		text, err := s.translate(e.Key, e.Args...)
		if err != nil {
			return nil, err
		}
		one := fault{Text: text}
		if e.Field != "" {
			one.Target = "#" + f.elementID(e.Field)
		}
		all = append(all, one)
	}
	return all, nil
}

// field makes a Field of what the form holds, the message of its label, and pairs of
// a setting and its value.
func (s speaker) field(form *Form, name, label string, settings ...any) (Field, error) {
	f := Field{ID: form.elementID(name), Name: name, Type: "text", Value: form.Get(name)}
	var err error
	if f.Label, err = s.translate(label); err != nil {
		return f, err
	}
	if len(settings)%2 != 0 {
		return f, fmt.Errorf("settings of field %s come in pairs", name)
	}
	for pair := range slices.Chunk(settings, 2) {
		if err := s.set(&f, pair[0], pair[1]); err != nil {
			return f, fmt.Errorf("setting %v of field %s: %w", pair[0], name, err)
		}
	}
	if f.Type == "password" {
		f.Value = "" // a secret is never sent back
	}
	if f.Options, err = s.options(form, name, f.Options); err != nil {
		return f, fmt.Errorf("options of field %s: %w", name, err)
	}
	for _, e := range form.Errors() {
		if e.Field != name {
			continue
		}
		text, err := s.translate(e.Key, e.Args...)
		if err != nil {
			return f, err
		}
		f.Error = strings.TrimSpace(f.Error + " " + text)
	}
	f.Checked = f.Checked || f.Type == "checkbox" && form.Has(name)
	return f, nil
}

func (s speaker) set(f *Field, setting, value any) error {
	places := map[any]any{
		"type": &f.Type, "value": &f.Value, "hint": &f.Hint, "autocomplete": &f.Autocomplete, "inputmode": &f.InputMode,
		"pattern": &f.Pattern, "minlength": &f.MinLength, "maxlength": &f.MaxLength, "rows": &f.Rows, "required": &f.Required,
		"autofocus": &f.Autofocus, "readonly": &f.ReadOnly, "checked": &f.Checked, "plain": &f.Plain, "options": &f.Options,
	}
	var ok bool
	switch place := places[setting].(type) {
	case *string:
		*place, ok = value.(string)
	case *int:
		*place, ok = value.(int)
	case *bool:
		*place, ok = value.(bool)
	case *[]Option:
		*place, ok = value.([]Option)
	default:
		return errors.New("there is no such setting")
	}
	if !ok {
		return fmt.Errorf("a %T does not fit", value)
	}
	if setting != "hint" {
		return nil
	}
	var err error
	f.Hint, err = s.translate(f.Hint)
	return err
}

// options gives the options their texts, and marks those that the form holds.
func (s speaker) options(form *Form, name string, options []Option) ([]Option, error) {
	all := slices.Clone(options)
	for i, o := range all {
		var err error
		if o.Key != "" {
			if all[i].Label, err = s.translate(o.Key); err != nil {
				return nil, err
			}
		}
		if o.HintKey != "" {
			if all[i].Hint, err = s.translate(o.HintKey); err != nil {
				return nil, err
			}
		}
		if form.Has(name) {
			all[i].Checked = slices.Contains(form.All(name), o.Value)
		}
	}
	return all, nil
}
