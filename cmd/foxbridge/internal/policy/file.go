package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/foxbridge/foxbridge/oauth"
)

// Bounds of a policy file.
const (
	MaxFile      = 1 << 20 // bytes
	maxLimit     = 1_000_000
	maxOverrides = 10_000
)

// Fields of limits.
const (
	hourField = string(oauth.RuleHour)
	dayField  = string(oauth.RuleDay)
)

// Parse reads a policy file, which is YAML:
//
//	kinds:               # a kind that is not given keeps its default
//	  personal: {hour: 20, day: 100}
//	  commercial: {hour: 1000, day: 10000}
//	overrides:           # by client_id
//	  4f0c1b7a9d2e4c6f8a1b3c5d7e9f0a2b: {hour: 60, day: 0}
//
// Limits are from 0, which is none, to 1,000,000, always both, and a day's is not less
// than an hour's. Whatever else is in the file is refused by the name of the field and,
// where there is one, its line. An empty file is the Default.
func Parse(text []byte) (Policy, error) {
	p := Default()
	root, err := document(text)
	if err != nil || root == nil {
		return p, err
	}
	err = eachField("", root, func(name string, value *yaml.Node) (err error) {
		switch name {
		case "kinds":
			err = eachField(name, value, func(kind string, limits *yaml.Node) error {
				if _, known := p.Kinds[oauth.Kind(kind)]; !known {
					return at(limits, name+"."+kind, "is no kind of application: these are personal and commercial")
				}
				l, err := readLimits(name+"."+kind, limits)
				p.Kinds[oauth.Kind(kind)] = l
				return err
			})
		case "overrides":
			err = eachField(name, value, func(clientID string, limits *yaml.Node) error {
				if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(clientID) {
					return at(limits, name+"."+clientID, "is no client_id, which is 32 digits of 0-9 and a-f")
				}
				l, err := readLimits(name+"."+clientID, limits)
				p.Overrides[clientID] = l
				return err
			})
			if err == nil && len(p.Overrides) > maxOverrides {
				err = at(value, name, fmt.Sprintf("has %d entries, and %d is the most", len(p.Overrides), maxOverrides))
			}
		default:
			err = at(value, name, "is unknown: there are kinds and overrides")
		}
		return err
	})
	if err != nil {
		return Policy{}, err
	}
	return p, nil
}

// document gives what the one document of a file holds, nil if that is nothing.
func document(text []byte) (*yaml.Node, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("policy: larger than %d bytes", MaxFile)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("policy: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("policy: more than one document")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	return root, nil
}

// at is a refusal of a field, which stands at a node.
func at(n *yaml.Node, field, wrong string) error {
	if field == "" {
		field = "policy"
	}
	return fmt.Errorf("line %d: %s: %s", n.Line, clip(field), wrong)
}

// clip keeps what a file says short and on one line.
func clip(s string) string {
	s = strings.Trim(strconv.Quote(s), `"`)
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "..."
	}
	return s
}

// eachField calls do for each field of a mapping that is called parent.
func eachField(parent string, n *yaml.Node, do func(name string, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode || n.Anchor != "" {
		return at(n, parent, "is not a plain mapping of names to values")
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		full := strings.TrimPrefix(parent+"."+key.Value, ".")
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Tag == "!!merge":
			return at(key, full, "is not a plain name")
		case seen[key.Value]:
			return at(key, full, "is given twice")
		}
		seen[key.Value] = true
		if err := do(key.Value, value); err != nil {
			return err
		}
	}
	return nil
}

func readLimits(field string, n *yaml.Node) (l oauth.Limits, err error) {
	given := make(map[string]bool)
	err = eachField(field, n, func(window string, value *yaml.Node) (err error) {
		given[window] = true
		switch window {
		case hourField:
			l.Hour, err = limit(field+"."+window, value)
		case dayField:
			l.Day, err = limit(field+"."+window, value)
		default:
			err = at(value, field+"."+window, "is unknown: there are hour and day")
		}
		return err
	})
	switch {
	case err != nil:
		return oauth.Limits{}, err
	case !given[hourField]:
		return oauth.Limits{}, at(n, field+".hour", "is missing; 0 is no limit")
	case !given[dayField]:
		return oauth.Limits{}, at(n, field+".day", "is missing; 0 is no limit")
	}
	if wrong, is := errors.AsType[*oauth.FieldError](l.Check()); is {
		return oauth.Limits{}, at(n, field+"."+wrong.Field, wrong.Problem)
	}
	return l, nil
}

func limit(field string, n *yaml.Node) (int, error) {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Anchor != "" || n.Tag != "!!int" || err != nil || v < 0 || v > maxLimit {
		return 0, at(n, field, fmt.Sprintf("is not a whole number from 0 to %d", maxLimit))
	}
	return v, nil
}
