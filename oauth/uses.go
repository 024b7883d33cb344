package oauth

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"
)

const (
	usesMax   = 50_000 // grants, and as many sessions, that are remembered; more are left out
	usesBatch = 500    // that are written at once
)

// uses remembers when grants and sessions were used until that is written down, so
// that a call of the API costs no write.
type uses struct {
	mu  sync.Mutex
	all Uses // guarded by mu
}

func newUses() *uses {
	return &uses{all: Uses{Grants: map[int64]time.Time{}, Sessions: map[Hash]SessionUse{}}}
}

func (u *uses) noteGrant(id int64, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.all.Grants[id]; known || len(u.all.Grants) < usesMax {
		u.all.Grants[id] = now
	}
}

func (u *uses) noteSession(session Hash, use SessionUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.all.Sessions[session]; known || len(u.all.Sessions) < usesMax {
		u.all.Sessions[session] = use
	}
}

// session gives the use of a session that is not written down yet.
func (u *uses) session(session Hash) (SessionUse, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	use, found := u.all.Sessions[session]
	return use, found
}

// take gives as many as are written at once, which are then not remembered any more.
func (u *uses) take() (some Uses, any bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	some = Uses{Grants: takeSome(u.all.Grants), Sessions: takeSome(u.all.Sessions)}
	return some, len(some.Grants)+len(some.Sessions) > 0
}

func takeSome[K comparable, V any](from map[K]V) map[K]V {
	some := make(map[K]V, min(len(from), usesBatch))
	for k, v := range from {
		if len(some) == usesBatch {
			break
		}
		some[k] = v
		delete(from, k)
	}
	return some
}

// putBack remembers again what could not be written, unless there is later use.
func (u *uses) putBack(some Uses) {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.Copy(some.Grants, u.all.Grants)
	maps.Copy(some.Sessions, u.all.Sessions)
	u.all = some
}

// Seen notes that a session was used, with what and from where.
func (s *Service) Seen(secret, agent string, from netip.Addr) {
	use := SessionUse{SeenAt: s.now(), Agent: agent}
	if from.IsValid() {
		use.Address = from.String()
	}
	s.uses.noteSession(HashOf(secret), use)
}

// WriteUses writes down which grants and sessions were used since it was last called.
// Call it every half a minute and at the end. What an error keeps it from writing, the
// next call writes.
func (s *Service) WriteUses(ctx context.Context) error {
	for range 2 * usesMax / usesBatch {
		some, any := s.uses.take()
		if !any {
			break
		}
		if err := s.opts.Store.NoteUses(ctx, some); err != nil {
			s.uses.putBack(some)
			return fmt.Errorf("write down uses of grants and sessions: %w", err)
		}
	}
	return nil
}
