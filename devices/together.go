package devices

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
)

// Part is one of several commands that were asked for together, and what became of it.
type Part struct {
	Device    Device // its Label is empty for the alarm
	Operation string
	Command   Command // zero if none was accepted
	Err       error   // why none was: a *Refusal, or a failure of the bridge
}

// Done reports whether the unit did it.
func (p Part) Done() bool { return p.Err == nil && p.Command.Outcome == Done }

// TogetherRequest asks for the commands of a group or a scenario.
type TogetherRequest struct {
	SiteID, ID int64  // of the group or the scenario
	Key        string // Idempotency-Key of them all, or empty for none
	Async      bool   // answer once all are accepted
}

// parallelMax is how many commands of one request are being accepted at one time.
const parallelMax = 16

// begunPart is a Part on its way.
type begunPart struct {
	begun
	row    Row
	target Target
	err    error // set beforehand: it is not tried
}

// together gives the commands of r to several devices of one site: all are accepted, and
// then all are awaited, so that it takes hardly longer than one. In order means that one is
// accepted, and sent, after the other. What becomes of one is no matter to the others. What was spent of the budget is
// given back if all of it only repeats what was given before.
func (s *Service) together(ctx context.Context, c Caller, parts []begunPart, r TogetherRequest, inOrder bool, spent ...Kind) ([]Part, error) {
	places := parallelMax
	if inOrder {
		places = 1
	}
	// Not cut short by the caller's going away: that would do half of it.
	accepting, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	free := make(chan struct{}, places)
	var beginning sync.WaitGroup
	for i := range parts {
		p := &parts[i]
		if p.err != nil {
			continue
		}
		place := p.target.Device.ID // that of a group's part, whatever else is in the group
		if inOrder {
			place = int64(i)
		}
		free <- struct{}{}
		beginning.Go(func() {
			defer func() { <-free }()
			p.begun, p.err = s.begin(accepting, c, p.row, p.target, partKey(r, place))
		})
	}
	beginning.Wait()
	if !slices.ContainsFunc(parts, func(p begunPart) bool { return p.fresh }) { // repeats, or nothing at all
		for _, kind := range spent {
			s.budget.Return(ctx, c, kind)
		}
	}
	list := make([]Part, len(parts))
	for i, p := range parts {
		list[i] = Part{Device: p.target.Device, Operation: p.row.Operation, Command: p.command, Err: p.err}
		if p.err != nil || r.Async {
			continue
		}
		command, err := p.await(ctx)
		if err != nil {
			return nil, err
		}
		list[i].Command = command
	}
	return list, nil
}

// partKey makes the key of one command from that of all. It is no key that a request
// for one command can have.
func partKey(r TogetherRequest, place int64) *[32]byte {
	if r.Key == "" {
		return nil
	}
	hash := sha256.Sum256(fmt.Appendf(nil, "part %d of %d: %s", place, r.ID, r.Key))
	return &hash
}
