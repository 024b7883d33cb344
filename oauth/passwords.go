package oauth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
)

// DefaultPasswordQueue is the length of the queue of Passwords.
const DefaultPasswordQueue = 64

// DefaultPasswordParams are the argon2id parameters that OWASP's Password Storage
// Cheat Sheet gives for a server: 19 MiB, two passes, one lane.
func DefaultPasswordParams() argon2id.Params {
	return argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
}

// PasswordOptions configures Passwords. The zero value of a field stands for its
// default.
type PasswordOptions struct {
	Workers int              // hashes at once; 0: half of GOMAXPROCS, at least one
	Queue   int              // callers that may wait for a worker; 0: DefaultPasswordQueue
	Params  argon2id.Params  // zero: DefaultPasswordParams
	Now     func() time.Time // clock by which a hash is timed; nil: time.Now
}

// Passwords hashes and verifies passwords with argon2id. That is dear by intent, so
// no more than a few run at once, a few more wait, and the rest are sent away: a
// flood of sign-ins leaves the machine to everybody else. All methods may be called
// concurrently.
type Passwords struct {
	params argon2id.Params
	dummy  string // hash with params that no password is known to match
	now    func() time.Time

	slots chan struct{} // one element for each busy worker
	queue int64
	share int // places, waiting or busy, that one of the callers may have

	mu      sync.Mutex
	holders map[string]int // places by who has them; guarded by mu
	waiting atomic.Int64
	hashes  atomic.Uint64
	cost    atomic.Int64 // nanoseconds that a hash takes, smoothed; an estimate, so that a lost update does no harm
}

// NewPasswords returns Passwords, or an error that names the option that is wrong.
func NewPasswords(o PasswordOptions) (*Passwords, error) {
	orDefault(&o.Workers, max(1, runtime.GOMAXPROCS(0)/2))
	orDefault(&o.Queue, DefaultPasswordQueue)
	orDefault(&o.Params, DefaultPasswordParams())
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("configure password hashing: %w", err)
	}
	return &Passwords{
		params: o.Params,
		dummy:  dummyHash(o.Params),
		now:    o.Now,
		slots:  make(chan struct{}, o.Workers),
		queue:  int64(o.Queue),

		share:   max(2, (o.Workers+o.Queue)/4),
		holders: map[string]int{},
	}, nil
}

// dummyHash is a hash in PHC form whose key was not derived but drawn: to verify a
// password against it costs as much as against any other, and to make it costs nothing.
func dummyHash(p argon2id.Params) string {
	salt, key := make([]byte, p.SaltLength), make([]byte, p.KeyLength)
	rand.Read(salt) // never fails, see randomHex
	rand.Read(key)
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s",
		p.Memory, p.Iterations, p.Parallelism, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

func (o *PasswordOptions) check() error {
	switch {
	case o.Workers < 0:
		return errors.New("option Workers is negative")
	case o.Queue < 0:
		return errors.New("option Queue is negative")
	case o.Params.Iterations < 1:
		return errors.New("option Params.Iterations is zero")
	case o.Params.Parallelism < 1:
		return errors.New("option Params.Parallelism is zero")
	case o.Params.Memory < 8*uint32(o.Params.Parallelism):
		return errors.New("option Params.Memory is under 8 KiB for each lane") // RFC 9106 section 3.1
	case o.Params.SaltLength < 8:
		return errors.New("option Params.SaltLength is under 8 bytes") // RFC 9106 section 3.1
	case o.Params.KeyLength < 16:
		return errors.New("option Params.KeyLength is under 16 bytes")
	}
	return nil
}

// PasswordStats tells how busy Passwords is.
type PasswordStats struct {
	Workers int    // hashes that may run at once
	Busy    int    // workers in use
	Waiting int    // callers in the queue
	Hashes  uint64 // hashes computed since the start, to store or to verify
}

// Stats tells how busy p is at this moment.
func (p *Passwords) Stats() PasswordStats {
	return PasswordStats{
		Workers: cap(p.slots),
		Busy:    len(p.slots),
		Waiting: int(p.waiting.Load()),
		Hashes:  p.hashes.Load(),
	}
}

// run calls do as one of the workers, in the caller's goroutine and in order of
// arrival. When the queue is full, or who has a quarter of all places already, it is
// an *Error with CodeUnavailable at once; when ctx ends first, the caller leaves the
// queue with the cause. Then do was not called.
func (p *Passwords) run(ctx context.Context, who string, do func() error) error {
	if !p.take(who) {
		return p.full()
	}
	defer p.giveBack(who)
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer func() { <-p.slots }()
	return do()
}

func (p *Passwords) take(who string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holders[who] >= p.share {
		return false
	}
	p.holders[who]++
	return true
}

func (p *Passwords) giveBack(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holders[who]--; p.holders[who] == 0 {
		delete(p.holders, who)
	}
}

func (p *Passwords) full() *Error {
	return &Error{
		Code: CodeUnavailable, Description: "Too many requests are waiting; try again later",
		Reason: "password queue full", RetryAfter: p.wait(),
	}
}

func (p *Passwords) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("wait to hash a password: %w", context.Cause(ctx))
	}
	select {
	case p.slots <- struct{}{}: // a free worker; never one that somebody waits for
		return nil
	default:
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.queue {
		return p.full()
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to hash a password: %w", context.Cause(ctx))
	}
}

// wait estimates how long the queue takes to drain: at least a second, in whole ones.
// Until the first hash was made it is a second.
func (p *Passwords) wait() time.Duration {
	rounds := p.queue/int64(cap(p.slots)) + 1
	return max(time.Duration(p.cost.Load()*rounds).Round(time.Second), time.Second)
}

// hash gives the argon2id hash of a password in PHC form. Call it as a worker.
func (p *Passwords) hash(password string) (string, error) {
	defer p.timed(p.now())
	hash, err := argon2id.CreateHash(password, &p.params)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// matches tells whether a password has this hash. Call it as a worker.
func (p *Passwords) matches(password, hash string) (bool, error) {
	defer p.timed(p.now())
	return argon2id.ComparePasswordAndHash(password, hash)
}

func (p *Passwords) timed(began time.Time) {
	p.hashes.Add(1)
	took, mean := int64(p.now().Sub(began)), p.cost.Load()
	if mean == 0 {
		mean = took
	}
	p.cost.Store(mean + (took-mean)/8)
}

// checkPassword refuses what cannot become a password: under 8 or over 1024 bytes,
// invalid UTF-8, or a NUL.
func checkPassword(password string) error {
	switch {
	case len(password) < 8:
		return &FieldError{Field: "password", Problem: "has fewer than 8 bytes"}
	case len(password) > 1024:
		return &FieldError{Field: "password", Problem: "has more than 1024 bytes"}
	case !utf8.ValidString(password):
		return &FieldError{Field: "password", Problem: "is not valid UTF-8"}
	case strings.ContainsRune(password, 0):
		return &FieldError{Field: "password", Problem: "holds a NUL"}
	}
	return nil
}
