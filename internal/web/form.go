package web

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Bounds of a form.
const (
	maxBody   = 64 << 10 // bytes
	maxField  = 32 << 10 // bytes of one value
	maxValues = 256      // of a field that may be repeated
)

// FormError says why a form was not read. Its text names the field, never what was in
// it.
type FormError struct {
	Status int    // of the answer
	Field  string // as it was declared; empty when it is about the whole form
	Key    string // message for the sender
	Args   []any
	reason string
	err    error
}

// Error implements error.
func (e *FormError) Error() string {
	text := "form: " + e.reason
	if e.Field != "" {
		text = "form field " + e.Field + ": " + e.reason
	}
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

// Unwrap gives the cause, if there is one.
func (e *FormError) Unwrap() error { return e.err }

// Form is what came in a form, or what one is to be filled with, and what is wrong with
// it. The zero Form is empty and without fault. A Form is for one goroutine.
type Form struct {
	// ID tells the elements of several forms on one page apart. Letters, digits, "-".
	ID     string
	values map[string][]string
	errors []FieldError
}

// FieldError is what is wrong with a field.
type FieldError struct {
	Field string // empty: with the form as a whole
	Key   string // message
	Args  []any
}

// NewForm makes a form that is filled with values.
func NewForm(values map[string]string) *Form {
	f := &Form{values: make(map[string][]string, len(values))}
	for name, value := range values {
		f.values[name] = []string{value}
	}
	return f
}

// Get is the first value of a field; empty when there is none.
func (f *Form) Get(name string) string {
	if f == nil || len(f.values[name]) == 0 {
		return ""
	}
	return f.values[name][0]
}

// All are the values of a field in the order in which they came.
func (f *Form) All(name string) []string {
	if f == nil {
		return nil
	}
	return f.values[name]
}

// Has tells whether the field came, if only with an empty value.
func (f *Form) Has(name string) bool { return len(f.All(name)) > 0 }

// Set replaces the values of a field.
func (f *Form) Set(name string, values ...string) {
	if f.values == nil {
		f.values = make(map[string][]string)
	}
	f.values[name] = values
}

// Reject says with the message of key what is wrong with a field, or with the form as
// a whole when name is empty. The messages are shown in the order of the calls.
func (f *Form) Reject(name, key string, args ...any) {
	f.errors = append(f.errors, FieldError{Field: name, Key: key, Args: args})
}

// Valid tells whether nothing was rejected.
func (f *Form) Valid() bool { return f == nil || len(f.errors) == 0 }

// Errors is what was rejected.
func (f *Form) Errors() []FieldError {
	if f == nil {
		return nil
	}
	return f.errors
}

// Whole tells whether all that is wrong is one thing about the form as a whole.
func (f *Form) Whole() bool { return len(f.Errors()) == 1 && f.errors[0].Field == "" }

// elementID is the id of the element of a field.
func (f *Form) elementID(name string) string {
	if f == nil || f.ID == "" {
		return "f-" + name
	}
	return f.ID + "-" + name
}

// ParseForm reads the named fields of the form in the body of r, which is urlencoded
// and of at most 64 KiB; never of its query. A name that ends in "..." may come
// repeatedly. It refuses, with a *FormError, a named field that is repeated, is longer
// than 32 KiB, or is not text in UTF-8 without NUL. Other fields are left alone.
func ParseForm(w http.ResponseWriter, r *http.Request, names ...string) (*Form, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || media != "application/x-www-form-urlencoded" {
		return nil, &FormError{Status: http.StatusUnsupportedMediaType, Key: "web.error.415", reason: "not urlencoded", err: err}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &FormError{Status: http.StatusRequestEntityTooLarge, Key: "web.error.413", reason: "too large", err: err}
	}
	if err != nil {
		return nil, &FormError{Status: http.StatusBadRequest, Key: "web.error.400", reason: "unreadable", err: err}
	}
	return parsePairs(string(body), names)
}

// ParseQuery reads the named fields of the query of r by the rules of ParseForm.
func ParseQuery(r *http.Request, names ...string) (*Form, error) {
	if len(r.URL.RawQuery) > maxBody {
		return nil, &FormError{Status: http.StatusRequestURITooLong, Key: "web.error.413", reason: "too large"}
	}
	return parsePairs(r.URL.RawQuery, names)
}

func parsePairs(pairs string, names []string) (*Form, error) {
	limits := make(map[string]int, len(names))
	for _, name := range names {
		if base, ok := strings.CutSuffix(name, "..."); ok {
			limits[base] = maxValues
		} else {
			limits[name] = 1
		}
	}
	f := &Form{values: make(map[string][]string, len(limits))}
	for pair := range strings.SplitSeq(pairs, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		limit, known := limits[name]
		if err != nil || !known {
			continue
		}
		if len(f.values[name]) == limit {
			return nil, badField(name, "web.error.field_repeated", "given more than once")
		}
		value, err := url.QueryUnescape(rawValue)
		switch {
		case err != nil: // without the error, which holds what was sent
			return nil, badField(name, "web.error.field_text", "malformed escape")
		case len(value) > maxField:
			return nil, badField(name, "web.error.field_long", "too long")
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return nil, badField(name, "web.error.field_text", "not text in UTF-8 without NUL")
		}
		f.values[name] = append(f.values[name], value)
	}
	return f, nil
}

func badField(name, key, reason string) *FormError {
	return &FormError{Status: http.StatusBadRequest, Field: name, Key: key, Args: []any{name}, reason: reason}
}
