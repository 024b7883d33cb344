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
	row, known := s.table.operation(r.Kind, r.Operation)
	if !known {
		return Command{}, &Refusal{Code: NoSuch, Text: "Unknown operation"}
	}
	if err := s.admit(c, r.SiteID, row); err != nil {
		return Command{}, err
	}
	key, err := keyHash(r.Key)
	if err != nil {
		return Command{}, err
	}
	target, err := s.store.Target(ctx, c.UserID, r.SiteID, r.DeviceID, row.Kinds())
	if err != nil {
		return Command{}, absent(err, "find device %d of site %d", r.DeviceID, r.SiteID)
	}
	if err := look(target.Site, row); err != nil {
		return Command{}, err
	}
	if err := s.spend(ctx, c, row.Kind); err != nil {
		return Command{}, err
	}
	b, err := s.begin(ctx, c, row, target, key)
	if !b.fresh { // a repeat, or nothing at all
		s.budget.Return(ctx, c, row.Kind)
	}
	if err != nil || r.Async {
		return b.command, err
	}
	return b.await(ctx)
}

// begun is a command that was accepted.
type begun struct {
	command Command
	fresh   bool           // and repeats no other
	answer  <-chan Command // receives it as it stands once, when the house has spoken or the wait is over
}

// await waits for the answer.
func (b begun) await(ctx context.Context) (Command, error) {
	select {
	case command := <-b.answer:
		return command, nil
	case <-ctx.Done():
		return Command{}, fmt.Errorf("await command %s: %w", b.command.ID, ctx.Err())
	}
}

// begin accepts a command and sends it.
func (s *Service) begin(ctx context.Context, c Caller, row Row, target Target, key *[32]byte) (begun, error) {
	if unit := target.Unit; unit.Link.Online && max(unit.Link.Catalogue, 1) < row.Since {
		return begun{}, &Refusal{Code: OutdatedUnit, Text: "The unit does not know this operation: its firmware is too old"}
	}
	lane, err := s.lanes.enter(place{target.Site.ID, target.Device.ID})
	if err != nil {
		return begun{}, err
	}
	accepted, flight, err := s.accept(ctx, lane, c, row, target, key)
	if err != nil {
		s.lanes.leave(lane)
		return begun{fresh: accepted.New}, err
	}
	return begun{accepted.Command, accepted.New, s.follow(accepted.Command, flight, lane)}, nil
}

// accept writes the intent and sends it, in the lane's turn, so that commands to
// one device are sent in the order in which they were accepted.
func (s *Service) accept(ctx context.Context, l *lane, c Caller, row Row, target Target, key *[32]byte) (Accepted, *flight, error) {
	if err := l.takeTurn(ctx); err != nil {
		return Accepted{}, nil, err
	}
	defer l.passTurn()

	id, err := uuid.NewV7()
	if err != nil {
		return Accepted{}, nil, fmt.Errorf("draw command id: %w", err)
	}
	now, language := s.now(), target.Site.Language
	command := Command{
		ID: id.String(), SiteID: target.Site.ID, UnitID: target.Unit.ID, DeviceID: target.Device.ID,
		Kind: kindOf(target.Device), Operation: row.Operation, UserID: c.UserID, ClientID: c.ClientID,
		AcceptedAt: now, ExpiresAt: now.Add(row.Expiry), Outcome: Pending, Language: language,
		Label:   fill(row.Label.In(language), "device", target.Device.Label, "who", c.who()),
		Failure: couldNot(language, c, fill(row.Tried.In(language), "device", target.Device.Label)),
	}
	intent := Intent{Key: key, KeySince: now.Add(-keyLife), JoinSince: now.Add(-joinWindow)}
	if !target.Unit.Link.Online {
		command.Outcome, command.FinishedAt = Offline, now
		intent.Entry = failed(command)
	}
	intent.Command = command

	// Known to the flights before it is sent: its answer may come at once.
	f := s.flights.join(command.ID)
	f.carries(command, target.Unit.Link.ClockOffset)
	accepted, err := s.writeIntent(ctx, intent)
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

// follow follows an accepted command until the house has spoken or the wait is
// over, then gives its place in the lane back and sends the command as it stands.
func (s *Service) follow(command Command, f *flight, l *lane) <-chan Command {
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
	ended := command
	ended.Outcome, ended.FinishedAt = outcome, s.now()
	stands, err := s.store.Finish(ctx, Finish{
		CommandID: command.ID, UnitID: command.UnitID, From: []Outcome{Pending}, Outcome: outcome, Now: ended.FinishedAt, Entry: failed(ended),
	})
	switch {
	case err == nil:
		s.observer.CommandFinished(string(command.Kind), command.Operation, string(outcome))
		return stands
	case errors.Is(err, ErrSettled):
		return stands
	}
	s.log.Error("outcome not written", "command_id", command.ID, "outcome", outcome, "err", err)
	return ended
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

// who names the person and the application in a sentence.
func (c Caller) who() string {
	if c.ClientName == "" {
		return c.UserName
	}
	return fmt.Sprintf("%s (%s)", c.UserName, quotable(c.ClientName))
}

// couldNot begins the sentence of what somebody tried.
func couldNot(l Language, c Caller, tried string) string {
	return fill(Text{"{who} could not {tried}", "{who} n’a pas pu {tried}"}.In(l), "who", c.who(), "tried", tried)
}
