package devices

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Request asks for a command.
type Request struct {
	SiteID    int64
	DeviceID  int64 // SecurityDevice for the alarm
	Kind      Kind
	Operation string
	Key       string // Idempotency-Key: 1 to 255 visible ASCII characters, or empty for none
	Async     bool   // answer once it is accepted
}

// Execute carries a command to the house. It is accepted first: written durably,
// in the order in which commands to one device are then sent. From there on it
// runs to its outcome whatever becomes of ctx. Execute returns with the unit's
// answer, or with Unknown (Pending if another bridge has it) when the wait is over,
// or at once with Pending if the request is Async.
//
// A repeat is answered with the command that it repeats, and sends nothing: by
// its Key for 24 hours, or without one if the same client asked the same of the
// device within the last minute, the outcome is still open, and it asked nothing else of the
// device since.
func (s *Service) Execute(ctx context.Context, c Caller, r Request) (Command, error) {
	row, known := OperationOf(r.Kind, r.Operation)
	if !known {
		return Command{}, &Refusal{Code: NoSuch, Text: "Unknown operation"}
	}
	if !c.reaches(r.SiteID) {
		return Command{}, noSite()
	}
	if err := permit(c, row); err != nil {
		return Command{}, err
	}
	key, err := keyHash(r.Key)
	if err != nil {
		return Command{}, err
	}
	target, err := s.target(ctx, c, r)
	if err != nil {
		return Command{}, err
	}
	if err := s.spend(ctx, c, r.Kind); err != nil {
		return Command{}, err
	}
	lane, err := s.lanes.enter(place{r.SiteID, r.DeviceID})
	if err != nil {
		s.budget.Return(ctx, c, r.Kind)
		return Command{}, err
	}
	accepted, flight, err := s.accept(ctx, lane, c, r, row, target, key)
	if !accepted.New { // a repeat, or nothing at all
		s.budget.Return(ctx, c, r.Kind)
	}
	if err != nil {
		s.lanes.leave(lane)
		return Command{}, err
	}
	command := accepted.Command
	answer := s.await(command, flight, lane)
	if r.Async {
		return command, nil
	}
	select {
	case command = <-answer:
		return command, nil
	case <-ctx.Done():
		return Command{}, fmt.Errorf("await command %s: %w", command.ID, ctx.Err())
	}
}

// accept writes the intent and sends it, in the lane's turn, so that commands to
// one device are sent in the order in which they were accepted.
func (s *Service) accept(ctx context.Context, l *lane, c Caller, r Request, row Row, target Target, key *[32]byte) (Accepted, *flight, error) {
	if err := l.takeTurn(ctx); err != nil {
		return Accepted{}, nil, err
	}
	defer l.passTurn()

	id, err := uuid.NewV7()
	if err != nil {
		return Accepted{}, nil, fmt.Errorf("draw command id: %w", err)
	}
	now := s.now()
	command := Command{
		ID: id.String(), SiteID: r.SiteID, UnitID: target.Unit.ID, DeviceID: r.DeviceID,
		Kind: r.Kind, Operation: r.Operation, UserID: c.UserID, ClientID: c.ClientID,
		AcceptedAt: now, ExpiresAt: now.Add(row.Expiry), Outcome: Pending, Label: sentence(row, target.Device, c),
	}
	if !target.Unit.Link.Online {
		command.Outcome, command.FinishedAt = Offline, now
	}

	// Known to the flights before it is sent: its answer may come at once.
	f := s.flights.join(command.ID)
	f.carries(command, target.Unit.Link.ClockOffset)
	accepted, err := s.writeIntent(ctx, Intent{Command: command, Key: key, KeySince: now.Add(-keyLife), JoinSince: now.Add(-joinWindow)})
	if err != nil {
		s.flights.leave(f)
		return Accepted{}, nil, err
	}
	if !accepted.New {
		s.flights.leave(f)
		command, f, err := s.repeat(ctx, accepted.Command)
		return Accepted{Command: command}, f, err
	}
	if command.Outcome == Offline {
		s.observer.CommandFinished(string(command.Kind), command.Operation, string(Offline))
		return Accepted{Command: command, New: true}, f, nil
	}
	return Accepted{Command: s.send(ctx, command, target.Unit.Link.ClockOffset), New: true}, f, nil
}

func (s *Service) writeIntent(ctx context.Context, i Intent) (Accepted, error) {
	// Not cut short by the caller's going away: then nobody would know whether it stands.
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	accepted, err := s.store.Accept(write, i)
	if errors.Is(err, ErrKeyReuse) {
		return Accepted{}, &Refusal{Code: KeyReuse, Text: "The Idempotency-Key was used for another command"}
	}
	if err != nil {
		return Accepted{}, fmt.Errorf("accept command %s: %w", i.Command.ID, err)
	}
	return accepted, nil
}

// send hands an accepted command over. One that did not leave is Offline: nothing
// was sent. Any other failure leaves its outcome open, as a silent unit does.
func (s *Service) send(ctx context.Context, command Command, offset time.Duration) Command {
	handover, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	err := s.sender.Send(handover, Order{
		CommandID: command.ID, UnitID: command.UnitID, DeviceID: command.DeviceID,
		Kind: command.Kind, Operation: command.Operation,
		Issued: command.AcceptedAt.Add(offset), Expires: command.ExpiresAt.Add(offset),
	})
	if err == nil {
		return command
	}
	s.log.ErrorContext(ctx, "command not handed over", "command_id", command.ID, "unit", command.UnitID, "err", err)
	if !errors.Is(err, ErrNotSent) {
		return command
	}
	return s.close(command, Offline)
}

// repeat joins a command that was given before. It is read again after joining:
// its answer may have come in between.
func (s *Service) repeat(ctx context.Context, earlier Command) (Command, *flight, error) {
	f := s.flights.join(earlier.ID)
	command, err := s.store.Command(ctx, earlier.SiteID, earlier.ID)
	if err != nil {
		s.flights.leave(f)
		return Command{}, nil, fmt.Errorf("read command %s again: %w", earlier.ID, err)
	}
	return command, f, nil
}

// await follows an accepted command until the house has spoken or the wait is
// over, then gives its place in the lane back and sends the command as it stands.
func (s *Service) await(command Command, f *flight, l *lane) <-chan Command {
	answer := make(chan Command, 1)
	finish := func(c Command) {
		s.flights.leave(f)
		s.lanes.leave(l)
		answer <- c
	}
	if command.Outcome.Settled() {
		finish(command)
		return answer
	}
	s.background.Go(func() {
		timer := time.NewTimer(s.wait)
		defer timer.Stop()
		select {
		case <-f.landed:
			finish(f.outcome())
		case <-timer.C:
			finish(s.close(command, Unknown))
		}
	})
	return answer
}

// close writes an outcome that the bridge itself decides, unless the house has
// spoken meanwhile, and returns the command as it stands. If it cannot be written
// the command is returned with the outcome all the same: it is what the bridge knows.
func (s *Service) close(command Command, outcome Outcome) Command {
	ctx, cancel := context.WithTimeout(context.Background(), writeLimit)
	defer cancel()
	stands, err := s.store.Finish(ctx, Finish{
		CommandID: command.ID, UnitID: command.UnitID, From: []Outcome{Pending}, Outcome: outcome, Now: s.now(),
	})
	switch {
	case err == nil:
		s.observer.CommandFinished(string(command.Kind), command.Operation, string(outcome))
		return stands
	case errors.Is(err, ErrSettled):
		return stands
	}
	s.log.Error("outcome not written", "command_id", command.ID, "outcome", outcome, "err", err)
	command.Outcome, command.FinishedAt = outcome, s.now()
	return command
}

func (s *Service) target(ctx context.Context, c Caller, r Request) (Target, error) {
	target, err := s.store.Target(ctx, c.UserID, r.SiteID, r.DeviceID, r.Kind)
	switch {
	case errors.Is(err, ErrNotFound):
		return Target{}, noSite()
	case errors.Is(err, ErrNoDevice):
		return Target{}, noDevice()
	case err != nil:
		return Target{}, fmt.Errorf("find device %d of site %d: %w", r.DeviceID, r.SiteID, err)
	}
	return target, nil
}

func keyHash(key string) (*[32]byte, error) {
	if key == "" {
		return nil, nil
	}
	if len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, &Refusal{Code: BadKey, Text: "Idempotency-Key must be 1 to 255 visible ASCII characters"}
	}
	hash := sha256.Sum256([]byte(key))
	return &hash, nil
}

// sentence is what the history says once the command is done.
func sentence(row Row, d Device, c Caller) string {
	who := fmt.Sprintf("%s (%s)", c.UserName, c.ClientName)
	return strings.NewReplacer("{device}", d.Label, "{who}", who).Replace(row.Label)
}
