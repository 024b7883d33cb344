package apidoc

// The objects of OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1) that the document
// is made of, with the fields that it uses.

type document struct {
	OpenAPI    string              `json:"openapi"`
	Info       info                `json:"info"`
	Servers    []server            `json:"servers"`
	Tags       []tag               `json:"tags"`
	Paths      map[string]pathItem `json:"paths"`
	Components components          `json:"components"`
}

type info struct {
	Title       string  `json:"title"`
	Summary     string  `json:"summary"`
	Description string  `json:"description"`
	Version     string  `json:"version"`
	License     license `json:"license"`
}

type license struct {
	Name       string `json:"name"`
	Identifier string `json:"identifier"`
}

type server struct {
	URL         string `json:"url"`
	Description string `json:"description"`
}

type tag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// pathItem is operations by their method in lower case.
type pathItem map[string]*operation

type operation struct {
	Tags        []string            `json:"tags"`
	Summary     string              `json:"summary"`
	Description string              `json:"description,omitempty"`
	OperationID string              `json:"operationId"`
	Deprecated  bool                `json:"deprecated,omitempty"`
	Security    []requirement       `json:"security"`
	Parameters  []parameter         `json:"parameters,omitempty"`
	RequestBody *requestBody        `json:"requestBody,omitempty"`
	Responses   map[string]response `json:"responses"`
}

// requirement is schemes that are needed together, each with its scopes. An empty one
// needs nothing.
type requirement map[string][]string

type parameter struct {
	Ref         string `json:"$ref,omitempty"`
	Name        string `json:"name,omitempty"`
	In          string `json:"in,omitempty"`
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required,omitempty"`
	// AllowEmptyValue is of query parameters: an empty one is one that was not given.
	AllowEmptyValue bool   `json:"allowEmptyValue,omitempty"`
	Style           string `json:"style,omitempty"`
	Explode         *bool  `json:"explode,omitempty"`
	Schema          schema `json:"schema,omitempty"`
	Example         any    `json:"example,omitempty"`
}

type requestBody struct {
	Description string               `json:"description,omitempty"`
	Required    bool                 `json:"required,omitempty"`
	Content     map[string]mediaType `json:"content"`
}

type response struct {
	Ref         string               `json:"$ref,omitempty"`
	Description string               `json:"description,omitempty"`
	Headers     map[string]header    `json:"headers,omitempty"`
	Content     map[string]mediaType `json:"content,omitempty"`
}

type header struct {
	Ref         string `json:"$ref,omitempty"`
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required,omitempty"`
	Schema      schema `json:"schema,omitempty"`
	Example     any    `json:"example,omitempty"`
}

type mediaType struct {
	Schema   schema             `json:"schema"`
	Example  any                `json:"example,omitempty"`
	Examples map[string]example `json:"examples,omitempty"`
}

type example struct {
	Summary string `json:"summary,omitempty"`
	Value   any    `json:"value"`
}

type components struct {
	Schemas         map[string]schema         `json:"schemas"`
	Parameters      map[string]parameter      `json:"parameters"`
	Headers         map[string]header         `json:"headers"`
	Responses       map[string]response       `json:"responses"`
	SecuritySchemes map[string]securityScheme `json:"securitySchemes"`
}

type securityScheme struct {
	Type        string               `json:"type"`
	Description string               `json:"description"`
	Name        string               `json:"name,omitempty"`
	In          string               `json:"in,omitempty"`
	Scheme      string               `json:"scheme,omitempty"`
	Flows       map[string]oauthFlow `json:"flows,omitempty"`
}

type oauthFlow struct {
	AuthorizationURL string            `json:"authorizationUrl,omitempty"`
	TokenURL         string            `json:"tokenUrl"`
	RefreshURL       string            `json:"refreshUrl,omitempty"`
	Scopes           map[string]string `json:"scopes"`
}

// schema is a JSON Schema 2020-12.
type schema map[string]any

func reference(kind, name string) string { return "#/components/" + kind + "/" + name }

func schemaNamed(name string) schema { return schema{"$ref": reference("schemas", name)} }

// property is a key of an object.
type property struct {
	name     string
	schema   schema
	optional bool
}

func must(name string, s schema) property { return property{name: name, schema: s} }

func may(name string, s schema) property { return property{name: name, schema: s, optional: true} }

// object is a schema of an object with these properties. Clients are to ignore others.
func object(properties ...property) schema {
	all, required := schema{}, []string{}
	for _, p := range properties {
		all[p.name] = p.schema
		if !p.optional {
			required = append(required, p.name)
		}
	}
	s := schema{"type": "object", "properties": all}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func list(of schema) schema { return schema{"type": "array", "items": of} }

// items is the payload of a list.
func items(of schema) schema { return object(must("items", list(of))) }

func text(description string) schema { return describe(schema{"type": "string"}, description) }

func words[T ~string](description string, values ...T) schema {
	plain := make([]any, len(values))
	for i, v := range values {
		plain[i] = string(v)
	}
	return describe(schema{"type": "string", "enum": plain}, description)
}

func whole(description string, least int) schema {
	return describe(schema{"type": "integer", "minimum": least}, description)
}

func id(description string) schema {
	return describe(schema{"type": "integer", "format": "int64", "minimum": 1}, description)
}

// moment is the contract's only form of a date.
func moment(description string) schema {
	return describe(schema{"type": "string", "format": "date-time", "pattern": datePattern}, description)
}

const datePattern = `^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$`

func describe(s schema, description string) schema {
	if description != "" {
		s["description"] = description
	}
	return s
}

// nullable lets a schema be null too.
func nullable(s schema) schema {
	if kind, is := s["type"].(string); is {
		s["type"] = []string{kind, "null"}
	}
	if values, is := s["enum"].([]any); is {
		s["enum"] = append(values, nil)
	}
	return s
}
