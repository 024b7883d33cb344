package web

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"unicode/utf8"
)

// PostedUpload reads a form with a file in it, which is multipart: the named fields, each
// at most once, by the rules of PostedForm, and the file in the field of that name, of at
// most limit bytes; nil if none was chosen. It refuses a form without its token. When the
// file is larger, the *FormError names the file's field, and the Form is that of the
// other fields if the token of the form came before it.
func (p *Pages) PostedUpload(w http.ResponseWriter, r *http.Request, form, file string, limit int64, names ...string) (*Form, []byte, error) {
	media, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || options["boundary"] == "" {
		return nil, nil, &FormError{Status: http.StatusUnsupportedMediaType, Key: "web.error.415", reason: "not multipart", err: err}
	}
	names = append([]string{TokenField}, names...)
	// A reader of our own, since that of http would keep what is large in files.
	body := http.MaxBytesReader(w, r.Body, limit+maxBody)
	f, content, err := readParts(multipart.NewReader(body, options["boundary"]), file, limit, names)
	if f == nil {
		return nil, nil, err
	}
	if !p.CheckFormToken(r, form, f.Get(TokenField)) {
		return nil, nil, &FormError{Status: http.StatusForbidden, Field: TokenField, Key: "web.error.form_token", reason: "form token is not valid"}
	}
	return f, content, err
}

// readParts gives the Form also when the file is too large; otherwise not with an error.
func readParts(parts *multipart.Reader, file string, limit int64, names []string) (*Form, []byte, error) {
	f := &Form{values: make(map[string][]string, len(names))}
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[name] = true
	}
	var content []byte
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF { //nolint:errorlint // a wrapped one is a body that was cut short
			return f, content, nil
		}
		if err != nil {
			return nil, nil, unreadable(err)
		}
		name := part.FormName()
		switch {
		case name == file:
			if content != nil {
				return nil, nil, badField(name, "web.error.field_repeated", "given more than once")
			}
			if content, err = readUpTo(part, limit); err != nil {
				return nil, nil, unreadable(err)
			}
			if content == nil {
				return f, nil, &FormError{Status: http.StatusRequestEntityTooLarge, Field: file, Key: "web.error.413", reason: "too large"}
			}
		case known[name]:
			value, err := readUpTo(part, maxField)
			if err != nil {
				return nil, nil, unreadable(err)
			}
			if err := f.add(name, value); err != nil {
				return nil, nil, err
			}
		}
	}
}

func unreadable(err error) *FormError {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &FormError{Status: http.StatusRequestEntityTooLarge, Key: "web.error.413", reason: "too large", err: err}
	}
	return &FormError{Status: http.StatusBadRequest, Key: "web.error.400", reason: "unreadable", err: err}
}

// readUpTo reads all of a part; nil if that is more than limit.
func readUpTo(part io.Reader, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(part, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, nil
	}
	return content, nil // never nil, even if empty
}

// add takes in the value of a field that comes once; nil is one that is too long.
func (f *Form) add(name string, value []byte) error {
	switch {
	case f.Has(name):
		return badField(name, "web.error.field_repeated", "given more than once")
	case value == nil:
		return badField(name, "web.error.field_long", "too long")
	case !utf8.Valid(value) || bytes.IndexByte(value, 0) >= 0:
		return badField(name, "web.error.field_text", "not text in UTF-8 without NUL")
	}
	f.values[name] = []string{string(value)}
	return nil
}
