package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// SetOperator says whether the person with this email is an operator, by command. A
// person without an account is a *FieldError with the cause ErrNotFound.
func (s *Service) SetOperator(ctx context.Context, email string, operator bool) (User, error) {
	u, err := s.owner(ctx, email)
	if err != nil || u.Operator == operator {
		return u, err
	}
	action := ActionOperatorTaken
	if operator {
		action = ActionOperatorGiven
	}
	noted := s.change(u.ID, action, "", "", netip.Addr{})
	noted.ActorID = 0
	if err := s.opts.Store.SetOperator(ctx, u.ID, operator, noted); err != nil {
		return User{}, fmt.Errorf("say whether user %d is an operator: %w", u.ID, err)
	}
	u.Operator = operator
	return u, nil
}

// Request is an application that waits for an operator, and who asks for it.
type Request struct {
	Client
	Owner User
}

// requestsMax bounds the requests that are listed at once. The next ones come up when
// these are decided on.
const requestsMax = 50

// Requests lists the applications that wait for an operator, the oldest first, 50 at
// the most.
func (s *Service) Requests(ctx context.Context) ([]Request, error) {
	clients, err := s.opts.Store.PendingClients(ctx, requestsMax)
	if err != nil {
		return nil, fmt.Errorf("list pending clients: %w", err)
	}
	requests := make([]Request, 0, len(clients))
	for _, c := range clients {
		owner, err := s.opts.Store.User(ctx, c.OwnerID)
		if err != nil {
			return nil, fmt.Errorf("find owner of client %s: %w", c.ID, err)
		}
		requests = append(requests, Request{c, owner})
	}
	return requests, nil
}

// Decision is an operator's on a Pending application, or on an edit of one that waits.
type Decision struct {
	ClientID   string
	Edition    int64 // that the operator saw
	Approve    bool
	Reason     string     // why not, for the owner; at most 500 characters, may be empty
	OperatorID int64      // 0: by command
	Address    netip.Addr // where the operator is
}

// Decide lets a Pending application be used, or not, or an edit hold that waits, or not.
// It is in the record of the owner and in that of the operator. An application that
// waits for nothing in this edition is a *FieldError with the cause ErrNotFound, so that
// nobody approves what was edited after they looked; a Reason that cannot be is another
// one.
func (s *Service) Decide(ctx context.Context, d Decision) error {
	action, edit := ActionAppRejected, ActionAppEditRejected
	if d.Approve {
		action, edit, d.Reason = ActionAppApproved, ActionAppEditApproved, ""
	}
	if d.Reason = strings.TrimSpace(d.Reason); !isDescription(d.Reason) {
		return &FieldError{Field: "reason", Problem: "is not text of at most 500 characters, none of them invisible"}
	}
	noted, err := s.byCommand(ctx, d.ClientID, action)
	if wrong, is := errors.AsType[*FieldError](err); is {
		return notPending(wrong.Err)
	}
	if err != nil {
		return err
	}
	owners := s.change(noted.UserID, action, d.ClientID, noted.Subject, d.Address)
	owners.ActorID = d.OperatorID
	changes := []Change{owners}
	if d.OperatorID != noted.UserID && d.OperatorID != 0 {
		changes[0].Address = "" // that of somebody else is not the owner's to know
		changes = append(changes, s.change(d.OperatorID, action, d.ClientID, noted.Subject, d.Address))
	}
	held := slices.Clone(changes)
	for i := range held {
		held[i].Action = edit
	}
	err = s.opts.Store.Review(ctx, Review{
		ClientID: d.ClientID, Edition: d.Edition, Approve: d.Approve, Reason: d.Reason, Pending: changes, Held: held,
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return notPending(err)
	case err != nil:
		return fmt.Errorf("decide on client %s: %w", d.ClientID, err)
	}
	return nil
}

func notPending(cause error) error {
	return &FieldError{Field: "client_id", Problem: "names no pending application", Err: cause}
}

// Approve lets a Pending application be used, by command; see Decide.
func (s *Service) Approve(ctx context.Context, clientID string) error {
	return s.Decide(ctx, Decision{ClientID: clientID, Approve: true})
}

// Reject refuses a Pending application, by command and without a reason; see Decide.
func (s *Service) Reject(ctx context.Context, clientID string) error {
	return s.Decide(ctx, Decision{ClientID: clientID})
}

// byCommand is an entry in the record of an application's owner about what an operator
// does by command. An application that is not there is a *FieldError with the cause
// ErrNotFound.
func (s *Service) byCommand(ctx context.Context, clientID string, action Action) (Change, error) {
	client, err := s.opts.Store.Client(ctx, clientID)
	switch {
	case errors.Is(err, ErrNotFound):
		return Change{}, &FieldError{Field: "client_id", Problem: "names no application", Err: err}
	case err != nil:
		return Change{}, fmt.Errorf("find client: %w", err)
	}
	noted := s.change(client.OwnerID, action, client.ID, client.Name, netip.Addr{})
	noted.ActorID = 0
	return noted, nil
}
