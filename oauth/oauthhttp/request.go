package oauthhttp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/foxbridge/foxbridge/oauth"
)

// maxBody bounds a body that is read, in bytes.
const maxBody = 64 << 10

const (
	mediaForm      = "application/x-www-form-urlencoded"
	mediaMultipart = "multipart/form-data"
	mediaJSON      = "application/json"
)

// parseTokenRequest reads a token request: everything but the address.
func parseTokenRequest(w http.ResponseWriter, r *http.Request) (req oauth.TokenRequest, refusal *oauth.Error) {
	refusal = parse(w, r, map[string]*string{
		paramClientID:     &req.ClientID,
		paramClientSecret: &req.ClientSecret,
		"grant_type":      &req.GrantType,
		"username":        &req.Username,
		"password":        &req.Password,
		"refresh_token":   &req.RefreshToken,
		"code":            &req.Code,
		"redirect_uri":    &req.RedirectURI,
		"code_verifier":   &req.CodeVerifier,
		"device_code":     &req.DeviceCode,
		paramScope:        &req.Scope,
	})
	return req, refusal
}

// parseDeviceRequest reads a device authorization request.
func parseDeviceRequest(w http.ResponseWriter, r *http.Request) (req oauth.DeviceRequest, refusal *oauth.Error) {
	refusal = parse(w, r, map[string]*string{
		paramClientID:     &req.ClientID,
		paramClientSecret: &req.ClientSecret,
		paramScope:        &req.Scope,
	})
	return req, refusal
}

// parseClientRequest reads a request about a token.
func parseClientRequest(w http.ResponseWriter, r *http.Request) (req oauth.ClientRequest, refusal *oauth.Error) {
	var hint string // which changes nothing, but must be given once
	refusal = parse(w, r, map[string]*string{
		paramClientID:     &req.ClientID,
		paramClientSecret: &req.ClientSecret,
		"token":           &req.Token,
		"token_type_hint": &hint,
	})
	return req, refusal
}

// Parameters with rules of their own.
const (
	paramClientID     = "client_id"
	paramClientSecret = "client_secret"
	paramScope        = "scope"
)

// parse reads the parameters of a request into their places, the client's
// credentials among them. It reads the body, in any of the three forms that clients
// send, and the Authorization header; never the query, for that ends up in logs. An
// empty parameter is one that was not given, and one that has no place is ignored
// (RFC 6749 section 3.2).
func parse(w http.ResponseWriter, r *http.Request, places map[string]*string) *oauth.Error {
	body, refusal := readBody(w, r)
	if refusal != nil {
		return refusal
	}
	p := parameters{places, make(map[string]bool)}
	if refusal := p.parse(r.Header.Get("Content-Type"), body); refusal != nil {
		return refusal
	}
	return p.addBasic(r)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *oauth.Error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "The request body is too large",
			Reason: "body too large", Err: err,
		}
	}
	if err != nil {
		return nil, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "The request body could not be read",
			Reason: "body unreadable", Err: err,
		}
	}
	return body, nil
}

// parameters are those of a request in the making.
type parameters struct {
	places map[string]*string // of the values, by name
	seen   map[string]bool    // which were given
}

func (p *parameters) known(name string) bool { return p.places[name] != nil }

// add takes a parameter in.
func (p *parameters) add(name, value string) *oauth.Error {
	switch {
	case !p.known(name) || value == "":
		return nil
	case p.seen[name]:
		return p.repeated(name)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return badRequest("The "+name+" parameter is not text in UTF-8 without NUL", "parameter not text")
	}
	*p.places[name], p.seen[name] = value, true
	return nil
}

// repeated refuses a name that is given twice. It says the name only if it is one of
// ours: a refusal never repeats what was sent.
func (p *parameters) repeated(name string) *oauth.Error {
	if !p.known(name) {
		name = "same"
	}
	return badRequest("The "+name+" parameter is given more than once", "parameter repeated")
}

func (p *parameters) parse(contentType string, body []byte) *oauth.Error {
	media, options := mediaForm, map[string]string(nil)
	if contentType != "" {
		var err error
		if media, options, err = mediaType(contentType); err != nil {
			return badRequest("The Content-Type header is malformed", "content type malformed")
		}
	}
	switch media {
	case mediaForm:
		return p.parseForm(string(body))
	case mediaMultipart:
		return p.parseMultipart(body, options["boundary"])
	case mediaJSON:
		return p.parseJSON(body)
	default:
		return badRequest("The Content-Type is none of "+mediaForm+", "+mediaMultipart+" and "+mediaJSON, "content type unknown")
	}
}

// mediaType splits a Content-Type. Its media type is good without its parameters.
func mediaType(contentType string) (media string, options map[string]string, err error) {
	media, options, err = mime.ParseMediaType(contentType)
	if errors.Is(err, mime.ErrInvalidMediaParameter) {
		err = nil
	}
	return media, options, err
}

func (p *parameters) parseForm(body string) *oauth.Error {
	for rawName, rawValue := range formPairs(body) {
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return badRequest("The request body is not form-urlencoded", "body malformed")
		}
		if !p.known(name) {
			continue
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return badRequest("The "+name+" parameter is not form-urlencoded", "body malformed")
		}
		if refusal := p.add(name, value); refusal != nil {
			return refusal
		}
	}
	return nil
}

// formPairs splits form-urlencoded text into names and values, still encoded. Like
// the URL Standard, and unlike net/url, it takes a semicolon for a plain character:
// scripts send passwords as they are. Empty pairs, such as before a stray leading
// ampersand, are left out.
func formPairs(form string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for pair := range strings.SplitSeq(form, "&") {
			if pair == "" {
				continue
			}
			if name, value, _ := strings.Cut(pair, "="); !yield(name, value) {
				return
			}
		}
	}
}

func (p *parameters) parseMultipart(body []byte, boundary string) *oauth.Error {
	malformed := badRequest("The request body is not valid multipart/form-data", "body malformed")
	// A body that ends where the next part would begin looks complete to the Reader.
	if boundary == "" || !bytes.Contains(body, []byte("--"+boundary+"--")) {
		return malformed
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err == io.EOF { //nolint:errorlint // a wrapped one is a body that was cut short
			return nil
		}
		if err != nil {
			return malformed
		}
		if part.FileName() != "" {
			return badRequest("The request body holds a file", "file in body")
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return malformed
		}
		if refusal := p.add(part.FormName(), string(value)); refusal != nil {
			return refusal
		}
	}
}

// parseJSON takes one object whose known members are strings. The scope alone may be
// null, which is how it stands in our own answers: clients send it back.
func (p *parameters) parseJSON(body []byte) *oauth.Error {
	malformed := badRequest("The request body is not one JSON object", "body malformed")
	// encoding/json repairs invalid UTF-8, and its Decoder stops at the end of the
	// first value: both are found here.
	if !utf8.Valid(body) || !json.Valid(body) {
		return malformed
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // of a number that is ignored, the size does not matter
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return malformed
	}
	names := make(map[string]bool)
	for decoder.More() {
		name, value, err := member(decoder)
		if err != nil {
			return malformed
		}
		if names[name] {
			return p.repeated(name)
		}
		names[name] = true
		text, ok := value.(string)
		if name == paramScope && value == nil {
			continue
		}
		if p.known(name) && !ok {
			return badRequest("The "+name+" parameter is not a string", "parameter not text")
		}
		if refusal := p.add(name, text); refusal != nil {
			return refusal
		}
	}
	return nil
}

// member reads the next member of the object that decoder is in.
func member(decoder *json.Decoder) (name string, value any, err error) {
	token, err := decoder.Token()
	if err != nil {
		return "", nil, err
	}
	name, _ = token.(string) // what else stands there is an error of Token
	err = decoder.Decode(&value)
	return name, value, err
}

// addBasic takes the client's credentials from the Authorization header (RFC 6749
// section 2.3.1). Beside them the body may repeat the client_id, but a client
// authenticates in one place. A header of another scheme is none of ours: there are
// clients that send an old Bearer token along with everything.
func (p *parameters) addBasic(r *http.Request) *oauth.Error {
	if !usesBasic(r) {
		return nil
	}
	if len(r.Header.Values("Authorization")) > 1 {
		return badRequest("The Authorization header is given more than once", "header repeated")
	}
	id, secret, ok := basic(r.Header.Get("Authorization"))
	clientID, clientSecret := p.places[paramClientID], p.places[paramClientSecret]
	switch {
	case !ok:
		return &oauth.Error{
			Code: oauth.CodeInvalidClient, Description: "The Authorization header is malformed",
			Reason: "authorization header malformed",
		}
	case secret != "" && *clientSecret != "":
		return badRequest("The client authenticates both in the header and in the body", "client credentials given twice")
	case *clientID != "" && *clientID != id:
		return badRequest("The client_id parameter differs from the Authorization header", "client ids differ")
	}
	*clientID = id
	if secret != "" {
		*clientSecret = secret
	}
	return nil
}

func usesBasic(r *http.Request) bool {
	for _, header := range r.Header.Values("Authorization") {
		if scheme, _, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Basic") {
			return true
		}
	}
	return false
}

// basic decodes a Basic header. Inside, id and secret are form-urlencoded; clients
// that do not know send them as they are, which is the same as long as neither holds
// a special character.
func basic(header string) (id, secret string, ok bool) {
	_, credentials, _ := strings.Cut(header, " ")
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(decoded), ":")
	id, secret = formDecoded(id), formDecoded(secret)
	text := utf8.ValidString(id+secret) && !strings.ContainsRune(id+secret, 0)
	return id, secret, ok && id != "" && text
}

// formDecoded is s form-decoded, or s itself if it was not encoded.
func formDecoded(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}

func badRequest(description, reason string) *oauth.Error {
	return &oauth.Error{Code: oauth.CodeInvalidRequest, Description: description, Reason: reason}
}
