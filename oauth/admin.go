package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FieldError refuses what somebody entered. It never holds the value itself.
type FieldError struct {
	Field   string // email, name, password or owner
	Problem string // continues the field's name, such as "is taken"
	Err     error  // cause, such as ErrExists; may be nil
}

// Error gives the field and its problem.
func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Unwrap gives the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// AddUser creates an account. The email is stored in the form of NormalizeEmail, the
// name without surrounding space. What cannot be stored is a *FieldError; of a taken
// email its cause is ErrExists.
func (s *Service) AddUser(ctx context.Context, email, name, password string) (User, error) {
	user := User{CreatedAt: s.now()}
	var ok bool
	if user.Email, ok = NormalizeEmail(email); !ok {
		return User{}, &FieldError{Field: "email", Problem: "is not an e-mail address"}
	}
	var err error
	if user.Name, err = checkName(name); err != nil {
		return User{}, err
	}
	if err := checkPassword(password); err != nil {
		return User{}, err
	}
	err = s.opts.Passwords.run(ctx, "", func() error {
		user.PasswordHash, err = s.opts.Passwords.hash(password)
		return err
	})
	if err != nil {
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
// *FieldError; of an owner without an account its cause is ErrNotFound.
func (s *Service) AddClient(ctx context.Context, ownerEmail, name string) (c Client, secret string, err error) {
	if name, err = checkName(name); err != nil {
		return Client{}, "", err
	}
	owner, err := s.owner(ctx, ownerEmail)
	if err != nil {
		return Client{}, "", err
	}
	secret = NewSecret()
	c = Client{
		ID:         NewClientID(),
		Kind:       Personal,
		Name:       name,
		OwnerID:    owner.ID,
		SecretHash: HashOf(secret),
		CreatedAt:  s.now(),
	}
	if err := s.opts.Store.AddClient(ctx, c); err != nil {
		return Client{}, "", fmt.Errorf("add client of user %d: %w", owner.ID, err)
	}
	return c, secret, nil
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
// them a control character.
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
	}
	return name, nil
}
