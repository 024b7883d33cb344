package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FieldError refuses what somebody entered. It never holds the value itself.
type FieldError struct {
	Field   string // email, name, password or owner
	Problem string // continues the field's name, such as "is taken"
	Err     error  // cause, such as ErrExists; may be nil

	At     int           // which of several values is wrong, from 1; 0: not one of them alone
	Others []*FieldError // what else is wrong
}

// Error gives the field and its problem, and then what else is wrong.
func (e *FieldError) Error() string {
	text := e.Field + " " + e.Problem
	for _, other := range e.Others {
		text += "; " + other.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// AddUser creates an account. The email is stored in the form of NormalizeEmail, the
// name without surrounding space. What cannot be stored is a *FieldError; of a taken
// email its cause is ErrExists.
func (s *Service) AddUser(ctx context.Context, email, name, password string) (User, error) {
	user, err := s.newUser(email, name, password)
	if err != nil {
		return User{}, err
	}
	return s.addUser(ctx, user, password, "")
}

// newUser checks what a person enters who is to have an account. The email has ASCII
// characters alone: others look like them, and pass for the address of somebody else.
func (s *Service) newUser(email, name, password string) (User, error) {
	user := User{CreatedAt: s.now()}
	var ok bool
	if user.Email, ok = NormalizeEmail(email); !ok {
		return User{}, &FieldError{Field: "email", Problem: "is not an e-mail address"}
	}
	if strings.ContainsFunc(user.Email, func(r rune) bool { return r > unicode.MaxASCII }) {
		return User{}, &FieldError{Field: "email", Problem: "holds a character other than ASCII, which may look like another one"}
	}
	var err error
	if user.Name, err = checkName(name); err != nil {
		return User{}, err
	}
	if err := checkPassword(password); err != nil {
		return User{}, err
	}
	return user, nil
}

// addUser hashes the password as one of the workers, in a place of who, and adds the
// account.
func (s *Service) addUser(ctx context.Context, user User, password, who string) (_ User, err error) {
	if user.PasswordHash, err = s.hash(ctx, password, who); err != nil {
		return User{}, err
	}
	user.ID, err = s.opts.Store.AddUser(ctx, user)
	switch {
	case errors.Is(err, ErrExists):
		return User{}, &FieldError{Field: "email", Problem: "is taken", Err: err}
	case err != nil:
		return User{}, fmt.Errorf("add user: %w", err)
	}
	return user, nil
}

// AddClient registers a personal application of the user with this email, and gives
// its client_secret, which nothing can show again. What cannot be stored is a
// *FieldError; of an owner without an account its cause is ErrNotFound, and of one who has
// registered Options.Registrations within a day a *TooSoonError.
func (s *Service) AddClient(ctx context.Context, ownerEmail, name string) (c Client, secret string, err error) {
	if name, err = checkName(name); err != nil {
		return Client{}, "", err
	}
	owner, err := s.owner(ctx, ownerEmail)
	if err != nil {
		return Client{}, "", err
	}
	c, secret = s.personal(NewClientID(), owner.ID, name)
	if err := s.add(ctx, c, 0, s.noted(by{}, c, ActionAppCreated)); err != nil {
		return Client{}, "", err
	}
	return c, secret, nil
}

// personal makes a personal application with its first secret.
func (s *Service) personal(id string, ownerID int64, name string) (c Client, secret string) {
	secret = NewSecret()
	now := s.now()
	return Client{
		ID: id, Kind: Personal, Status: Active, Name: name, OwnerID: ownerID, CreatedAt: now,
		Secrets: []Secret{{Hash: HashOf(secret), CreatedAt: now}},
	}, secret
}

// CommercialRequest asks for a commercial application.
type CommercialRequest struct {
	OwnerEmail   string
	Name         string   // 1 to 100 characters
	Description  string   // at most 500 characters; may be empty
	HomePage     string   // an https URL, or empty
	RedirectURIs []string // 1 to 10; see ValidRedirectURI
	Scopes       []string // at least one of Options.Scopes
	Public       bool
	RequirePKCE  bool
	RequireScope bool
	Address      netip.Addr // where the person is; zero: it is asked by command
}

const (
	redirectURIsMax = 10
	descriptionMax  = 500 // characters
)

// RequestCommercial registers a commercial application that an operator has yet to
// approve, and gives its client_secret, which nothing can show again; a public one
// has none. What cannot be stored is a *FieldError, with the causes of AddClient.
func (s *Service) RequestCommercial(ctx context.Context, r CommercialRequest) (c Client, secret string, err error) {
	if err := s.checkCommercial(&r); err != nil {
		return Client{}, "", err
	}
	owner, err := s.owner(ctx, r.OwnerEmail)
	if err != nil {
		return Client{}, "", err
	}
	c, secret = s.commercial(NewClientID(), owner.ID, r)
	if err := s.add(ctx, c, 0, s.noted(by{}, c, ActionAppRequested)); err != nil {
		return Client{}, "", err
	}
	return c, secret, nil
}

// commercial makes a commercial application that waits for an operator, with its
// first secret unless it is a public one.
func (s *Service) commercial(id string, ownerID int64, r CommercialRequest) (c Client, secret string) {
	now := s.now()
	c = Client{
		ID: id, Kind: Commercial, Status: Pending, Name: r.Name, OwnerID: ownerID, CreatedAt: now,
		Description: r.Description, HomePage: r.HomePage, RedirectURIs: r.RedirectURIs, Scope: NewScope(r.Scopes...),
		Public: r.Public, RequirePKCE: r.RequirePKCE, RequireScope: r.RequireScope,
	}
	if !c.Public {
		secret = NewSecret()
		c.Secrets = []Secret{{Hash: HashOf(secret), CreatedAt: now}}
	}
	return c, secret
}

// checkCommercial gives everything that is wrong with r as one *FieldError.
func (s *Service) checkCommercial(r *CommercialRequest) error {
	var wrong []*FieldError
	name, err := checkName(r.Name)
	if refused, is := errors.AsType[*FieldError](err); is {
		wrong = append(wrong, refused)
	} else if err != nil {
		return err
	}
	r.Name = name
	if !isDescription(r.Description) {
		wrong = append(wrong, &FieldError{Field: "description", Problem: "is not text of at most 500 characters, none of them invisible"})
	}
	if r.HomePage != "" && (!ValidRedirectURI(r.HomePage) || !strings.HasPrefix(r.HomePage, "https://")) {
		wrong = append(wrong, &FieldError{Field: "home page", Problem: "is not an https address"})
	}
	wrong = append(wrong, checkRedirectURIs(r.RedirectURIs)...)
	if len(r.Scopes) == 0 || slices.ContainsFunc(r.Scopes, func(name string) bool { return !slices.Contains(s.opts.Scopes, name) }) {
		wrong = append(wrong, &FieldError{Field: "scope", Problem: "is not one of " + strings.Join(s.opts.Scopes, ", ")})
	}
	if len(wrong) == 0 {
		return nil
	}
	wrong[0].Others = wrong[1:]
	return wrong[0]
}

// checkRedirectURIs tells of each that cannot be registered.
func checkRedirectURIs(uris []string) []*FieldError {
	if len(uris) == 0 || len(uris) > redirectURIsMax {
		return []*FieldError{{Field: "redirect_uri", Problem: "must be given, at most 10 times"}}
	}
	var wrong []*FieldError
	for i, uri := range uris {
		if ValidRedirectURI(uri) {
			continue
		}
		which := ""
		if len(uris) > 1 {
			which = fmt.Sprintf("number %d ", i+1)
		}
		wrong = append(wrong, &FieldError{
			Field: "redirect_uri", At: i + 1,
			Problem: which + "is not an https address without fragment and user information, nor one of this machine",
		})
	}
	return wrong
}

// isDescription reports whether s is text of at most 500 characters, none of them
// invisible, of several lines perhaps.
func isDescription(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= descriptionMax && !strings.ContainsFunc(s, isForbidden)
}

func isForbidden(r rune) bool { return (unicode.IsControl(r) || isInvisible(r)) && r != '\n' }

// isInvisible reports whether r is a character that nobody sees: by it, what people read
// can pass for something else, or run in another order than it is stored.
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point)
}

// OneLine is a text as a reason or a name may hold it: without what nobody sees, and with
// one space for each run of spaces, breaks of lines and control characters.
func OneLine(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
			return ' '
		case isInvisible(r):
			return -1
		}
		return r
	}, s)), " ")
}

// AddSecret gives an application a second client_secret, so that it can change over
// without an outage. One that has two, has none by its nature, or is not there, is a
// *FieldError.
func (s *Service) AddSecret(ctx context.Context, clientID string) (secret string, err error) {
	noted, err := s.byCommand(ctx, clientID, ActionSecretAdded)
	if err != nil {
		return "", err
	}
	return s.addSecret(ctx, clientID, noted)
}

func (s *Service) addSecret(ctx context.Context, clientID string, noted Change) (secret string, err error) {
	secret = NewSecret()
	err = s.opts.Store.AddSecret(ctx, clientID, Secret{Hash: HashOf(secret), CreatedAt: s.now()}, noted)
	switch {
	case errors.Is(err, ErrExists):
		return "", &FieldError{Field: "client_id", Problem: "has two secrets already", Err: err}
	case errors.Is(err, ErrNotFound):
		return "", &FieldError{Field: "client_id", Problem: "names no application that has secrets", Err: err}
	case err != nil:
		return "", fmt.Errorf("add secret to client %s: %w", clientID, err)
	}
	return secret, nil
}

// RemoveSecret ends a client_secret. One that is not there is a *FieldError.
func (s *Service) RemoveSecret(ctx context.Context, clientID string, secretID int64) error {
	noted, err := s.byCommand(ctx, clientID, ActionSecretRemoved)
	if err != nil {
		return err
	}
	return s.removeSecret(ctx, clientID, secretID, noted)
}

func (s *Service) removeSecret(ctx context.Context, clientID string, secretID int64, noted Change) error {
	err := s.opts.Store.RemoveSecret(ctx, clientID, secretID, noted)
	switch {
	case errors.Is(err, ErrNotFound):
		return &FieldError{Field: "secret", Problem: "is not one of the application", Err: err}
	case err != nil:
		return fmt.Errorf("remove secret of client %s: %w", clientID, err)
	}
	return nil
}

// User finds a person by ID, or ErrNotFound.
func (s *Service) User(ctx context.Context, id int64) (User, error) {
	u, err := s.opts.Store.User(ctx, id)
	if err != nil {
		return User{}, fmt.Errorf("find user %d: %w", id, err)
	}
	return u, nil
}

// UserByEmail finds a person by sign-in name. One without an account is a
// *FieldError with the cause ErrNotFound.
func (s *Service) UserByEmail(ctx context.Context, email string) (User, error) {
	return s.owner(ctx, email)
}

func (s *Service) owner(ctx context.Context, email string) (User, error) {
	email, ok := NormalizeEmail(email)
	if !ok {
		return User{}, &FieldError{Field: "owner", Problem: "is not an e-mail address"}
	}
	user, err := s.opts.Store.UserByEmail(ctx, email)
	switch {
	case errors.Is(err, ErrNotFound):
		return User{}, &FieldError{Field: "owner", Problem: "has no account", Err: err}
	case err != nil:
		return User{}, fmt.Errorf("find owner: %w", err)
	}
	return user, nil
}

// Users lists users by ID, those above after, limit at the most.
func (s *Service) Users(ctx context.Context, after int64, limit int) ([]User, error) {
	users, err := s.opts.Store.Users(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return users, nil
}

// Clients lists clients by ID, those above after, limit at the most.
func (s *Service) Clients(ctx context.Context, after string, limit int) ([]Client, error) {
	clients, err := s.opts.Store.Clients(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list clients: %w", err)
	}
	return clients, nil
}

// checkName gives a name without surrounding space: 1 to 100 characters, none of
// them a control character or invisible.
func checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case !utf8.ValidString(name):
		return "", &FieldError{Field: "name", Problem: "is not valid UTF-8"}
	case name == "":
		return "", &FieldError{Field: "name", Problem: "is empty"}
	case utf8.RuneCountInString(name) > 100:
		return "", &FieldError{Field: "name", Problem: "has more than 100 characters"}
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", &FieldError{Field: "name", Problem: "holds a control character"}
	case strings.ContainsFunc(name, isInvisible):
		return "", &FieldError{Field: "name", Problem: "holds an invisible character"}
	}
	return name, nil
}
