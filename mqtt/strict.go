package mqtt

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/foxbridge/foxbridge/devices"
)

// Bounds of a payload.
const (
	PayloadMax  = 16 << 10 // bytes of a payload
	ReadingsMax = 4 << 10  // bytes of readings
	membersMax  = 256      // of one object
	depthMax    = 8        // objects and arrays within each other
)

func rejected(reason string) error { return &devices.Rejected{Reason: reason} }

// members calls member with the name and the value, as it was written, of each
// member of the JSON object that p is. It is stricter than encoding/json, because
// what it lets through is stored and read by others: one object and nothing after it, no name twice
// in any object (RFC 8259 section 4 leaves open which one counts), names that differ in case are
// different names, no NUL and no half of a surrogate pair in a string (PostgreSQL keeps neither),
// no number beyond a double, little nesting. The error of member ends it.
func members(p []byte, member func(name string, value []byte) error) error {
	switch {
	case len(p) > PayloadMax:
		return rejected("payload is longer than 16 KiB")
	case !utf8.Valid(p):
		return rejected("payload is not UTF-8")
	case !json.Valid(p):
		return rejected("payload is not JSON")
	}
	return within(bytes.TrimLeft(p, " \t\n\r"), member)
}

// within does the same for p that members has let through, as a payload or as a
// value in one.
func within(p []byte, member func(name string, value []byte) error) error {
	if p[0] != '{' {
		return rejected("payload is not an object")
	}
	s := scanner{p: p}
	return s.object(1, member)
}

// scanner walks over valid JSON, and refuses what members refuses beyond that.
type scanner struct {
	p []byte
	i int // of the next byte
}

func (s *scanner) space() {
	for s.i < len(s.p) && (s.p[s.i] == ' ' || s.p[s.i] == '\t' || s.p[s.i] == '\n' || s.p[s.i] == '\r') {
		s.i++
	}
}

func (s *scanner) object(depth int, member func(string, []byte) error) error {
	var names []string
	for s.i++; ; {
		s.space()
		switch s.p[s.i] {
		case '}':
			s.i++
			return nil
		case ',':
			s.i++
			continue
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		for _, other := range names {
			if name == other {
				return rejected("name stands twice in an object")
			}
		}
		if names = append(names, name); len(names) > membersMax {
			return rejected("object of too many members")
		}
		value, err := s.value(depth)
		if err != nil {
			return err
		}
		if member == nil {
			continue
		}
		if err := member(name, value); err != nil {
			return err
		}
	}
}

// name takes a member's name and the colon after it.
func (s *scanner) name() (string, error) {
	from := s.i
	if err := s.text(); err != nil {
		return "", err
	}
	name, err := unquote(s.p[from:s.i])
	s.space()
	s.i++
	return name, err
}

func (s *scanner) value(depth int) ([]byte, error) {
	s.space()
	from := s.i
	var err error
	switch s.p[s.i] {
	case '{', '[':
		if depth == depthMax {
			return nil, rejected("payload is nested too deep")
		}
		if s.p[s.i] == '{' {
			err = s.object(depth+1, nil)
		} else {
			err = s.array(depth + 1)
		}
	case '"':
		err = s.text()
	default:
		err = s.literal()
	}
	return s.p[from:s.i], err
}

func (s *scanner) array(depth int) error {
	for s.i++; ; {
		s.space()
		switch s.p[s.i] {
		case ']':
			s.i++
			return nil
		case ',':
			s.i++
		default:
			if _, err := s.value(depth); err != nil {
				return err
			}
		}
	}
}

// text takes a string.
func (s *scanner) text() error {
	for s.i++; s.p[s.i] != '"'; s.i++ {
		if s.p[s.i] != '\\' {
			continue
		}
		s.i++
		if s.p[s.i] != 'u' {
			continue
		}
		if err := s.unicode(); err != nil {
			return err
		}
	}
	s.i++
	return nil
}

// unicode takes what follows the backslash of \uXXXX, and of the pair if it is one
// half, but for the last digit.
func (s *scanner) unicode() error {
	r := s.hex(s.i + 1)
	s.i += 4
	switch {
	case r == 0:
		return rejected("NUL in a string")
	case !utf16.IsSurrogate(r):
		return nil
	case !bytes.HasPrefix(s.p[s.i+1:], []byte(`\u`)) || utf16.DecodeRune(r, s.hex(s.i+3)) == utf8.RuneError:
		return rejected("half of a surrogate pair in a string")
	}
	s.i += 6
	return nil
}

func (s *scanner) hex(at int) rune {
	n, err := strconv.ParseUint(string(s.p[at:at+4]), 16, 16)
	if err != nil {
		return 0 // not reached: the JSON is valid
	}
	return rune(n)
}

// literal takes a number, true, false or null.
func (s *scanner) literal() error {
	from := s.i
	for s.i < len(s.p) && bytes.IndexByte([]byte(" \t\n\r,]}"), s.p[s.i]) < 0 {
		s.i++
	}
	literal := s.p[from:s.i]
	if literal[0] > '9' {
		return nil
	}
	if len(literal) > 64 {
		return rejected("number is too long")
	}
	if _, err := strconv.ParseFloat(string(literal), 64); err != nil {
		return rejected("number is out of range")
	}
	return nil
}

func unquote(quoted []byte) (string, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return "", rejected("payload is not JSON")
	}
	return s, nil
}
