package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// text is a message in one language, cut at its places.
type text struct {
	literal []string // one more than there are places
	places  []int    // which argument stands between two literals
}

// message is what a key stands for in one language.
type message struct {
	other text
	one   *text // nil: other serves all numbers
}

// arguments is how many arguments the message takes.
func (m message) arguments() int {
	n := 0
	for _, place := range m.other.places {
		n = max(n, place+1)
	}
	if m.one != nil {
		n = max(n, 1)
	}
	return n
}

// catalogue holds the messages of all languages. All have the same keys, and the
// messages of a key take the same number of arguments.
type catalogue struct {
	messages map[Language]map[string]message
}

func readCatalogue(sources []fs.FS) (*catalogue, error) {
	c := &catalogue{messages: make(map[Language]map[string]message)}
	for _, l := range languages() {
		c.messages[l] = make(map[string]message)
		for _, source := range sources {
			name := string(l) + ".json"
			content, err := fs.ReadFile(source, name)
			if err != nil {
				return nil, fmt.Errorf("read messages: %w", err)
			}
			if err := addMessages(c.messages[l], content); err != nil {
				return nil, fmt.Errorf("messages in %s: %w", name, err)
			}
		}
	}
	return c, c.compare()
}

// addMessages adds the messages of a JSON object to into. It refuses a key that is
// already there, which encoding/json would take silently.
func addMessages(into map[string]message, content []byte) error {
	d := json.NewDecoder(bytes.NewReader(content))
	if opening, err := d.Token(); err != nil || opening != json.Delim('{') {
		return errors.Join(errors.New("not a JSON object"), err)
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if _, twice := into[key]; twice {
			return fmt.Errorf("message %q is there twice", key)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("message %q: %w", key, err)
		}
		if into[key], err = parseMessage(raw); err != nil {
			return fmt.Errorf("message %q: %w", key, err)
		}
	}
	_, err := d.Token()
	return err
}

func parseMessage(raw json.RawMessage) (message, error) {
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		other, err := parseText(plain)
		return message{other: other}, err
	}
	var forms struct {
		One, Other string
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&forms); err != nil {
		return message{}, fmt.Errorf("neither a text nor an object of one and other: %w", err)
	}
	one, err := parseText(forms.One)
	if err != nil {
		return message{}, fmt.Errorf("one: %w", err)
	}
	other, err := parseText(forms.Other)
	if err != nil {
		return message{}, fmt.Errorf("other: %w", err)
	}
	return message{one: &one, other: other}, nil
}

var place = regexp.MustCompile(`\{[^{}]*\}`)

func parseText(s string) (text, error) {
	if strings.TrimSpace(s) == "" {
		return text{}, errors.New("is empty")
	}
	var t text
	from := 0
	for _, at := range place.FindAllStringIndex(s, -1) {
		n, err := strconv.ParseUint(s[at[0]+1:at[1]-1], 10, 3)
		if err != nil {
			return text{}, fmt.Errorf("%s is none of {0} to {7}", s[at[0]:at[1]])
		}
		t.literal, t.places = append(t.literal, s[from:at[0]]), append(t.places, int(n)) // #nosec G115 -- below 8
		from = at[1]
	}
	t.literal = append(t.literal, s[from:])
	return t, nil
}

// compare fails unless all languages have the same keys, whose messages take the same
// number of arguments.
func (c *catalogue) compare() error {
	var wrong []error
	for _, l := range languages() {
		for _, key := range slices.Sorted(maps.Keys(c.messages[l])) {
			for _, other := range languages() {
				m, ok := c.messages[other][key]
				switch {
				case !ok:
					wrong = append(wrong, fmt.Errorf("message %q of language %s is missing in language %s", key, l, other))
				case l < other && m.arguments() != c.messages[l][key].arguments():
					wrong = append(wrong, fmt.Errorf("message %q takes another number of arguments in language %s than in %s", key, other, l))
				}
			}
		}
	}
	return errors.Join(wrong...)
}

func (c *catalogue) has(key string) bool {
	_, ok := c.messages[English][key]
	return ok
}

// fixed is a message of this package that takes no arguments.
func (c *catalogue) fixed(lang Language, key string) string {
	return strings.Join(c.messages[lang][key].other.literal, "")
}

// translate fills the message of key in.
func (c *catalogue) translate(lang Language, key string, args []any) (string, error) {
	m, ok := c.messages[lang][key]
	if !ok {
		return "", fmt.Errorf("there is no message %q", key)
	}
	if err := c.accepts(key, len(args)); err != nil {
		return "", err
	}
	chosen := m.other
	if m.one != nil {
		n, ok := wholeNumber(args[0])
		if !ok {
			return "", fmt.Errorf("message %q: the first argument is not a whole number but %T", key, args[0])
		}
		if lang.Singular(n) {
			chosen = *m.one
		}
	}
	var b strings.Builder
	for i, place := range chosen.places {
		value, err := c.argument(lang, args[place])
		if err != nil {
			return "", fmt.Errorf("message %q: argument %d: %w", key, place, err)
		}
		b.WriteString(chosen.literal[i] + value)
	}
	b.WriteString(chosen.literal[len(chosen.places)])
	return b.String(), nil
}

// accepts fails unless there is a message of key that takes n arguments.
func (c *catalogue) accepts(key string, n int) error {
	m, ok := c.messages[English][key]
	if !ok {
		return fmt.Errorf("there is no message %q", key)
	}
	if want := m.arguments(); want != n {
		return fmt.Errorf("message %q takes %d arguments, not %d", key, want, n)
	}
	return nil
}

// argument is an argument as it reads in a sentence.
func (c *catalogue) argument(lang Language, a any) (string, error) {
	switch a := a.(type) {
	case string:
		return a, nil
	case time.Time:
		return date(lang, a), nil
	case fmt.Stringer:
		return a.String(), nil
	}
	return number(lang, a)
}

func wholeNumber(a any) (int64, bool) {
	switch v := reflect.ValueOf(a); {
	case v.CanInt():
		return v.Int(), true
	case v.CanUint() && v.Uint() < 1<<63:
		return int64(v.Uint()), true // #nosec G115 -- compared
	default:
		return 0, false
	}
}

// number writes a number as the language does: 1,234.5 in English, 1 234,5 in French.
// A string type is taken as its text.
func number(lang Language, a any) (string, error) {
	var digits string
	switch v := reflect.ValueOf(a); {
	case v.CanInt():
		digits = strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		digits = strconv.FormatUint(v.Uint(), 10)
	case v.CanFloat():
		digits = strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case v.Kind() == reflect.String:
		return v.String(), nil
	default:
		return "", fmt.Errorf("is a %T, neither text nor number nor time", a)
	}
	group, point := ",", "."
	if lang == French {
		group, point = "\u202f", ","
	}
	sign := ""
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		sign, digits = "\u2212", rest
	}
	whole, fraction, fractional := strings.Cut(digits, ".")
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + group + whole[at:]
	}
	if fractional {
		return sign + whole + point + fraction, nil
	}
	return sign + whole, nil
}
