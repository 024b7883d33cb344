package metrics

import (
	"container/heap"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// client_id of the series that stand for more than one application. No application
// has such an id.
const (
	otherClients  = "other"
	formerClients = "former"
)

const (
	waitingPerSeries = 4   // applications without a series whose tokens are estimated, for each with one
	tokensPerSeries  = 256 // after so many tokens for each series the past counts half
	leastToEnter     = 8   // tokens that an application must surely have had to be given a series
)

// fleet counts tokens by application in a bounded number of series.
//
// The size busiest applications have series of their own, by client_id. Such a series
// counts what was issued to the application since it was given the series; what it
// was issued before stays under "other", which counts the tokens of all that have
// none. While there is room an application has a series from its first token on.
//
// When one without a series has become more than twice as busy as the least busy one
// with a series, it takes its place. The one that leaves has no series any more: what
// that has shown at a scrape goes to "former", what came since the last scrape to
// "other". If it comes back it begins at zero, as a counter does after a restart. This
// happens at a scrape and nowhere else, one place at each; but one that is deleted leaves
// in the same way at once. So, to the one who scrapes,
//
//   - no series ever decreases from one scrape to the next,
//   - all series together are all tokens, at each scrape,
//   - the increase of all series but "former" from one scrape to the next is what was
//     issued in between. The increase of "former" was shown before, under a client_id,
//     and must be left out of a rate.
//
// To each of several who scrape one bridge the first two hold as well. What an application
// was issued between a scrape of one of them and a later one of another, after which it
// leaves, is no increase to the first: it was shown, but to the other.
//
// Busy is a count of tokens that halves from time to time. Of applications without a
// series only so many are estimated (Metwally and others, "Efficient computation of
// frequent elements in data streams", 2005: the Space-Saving algorithm), so the memory
// is bounded whatever ids there are.
type fleet struct {
	size           int
	issuedDesc     *prometheus.Desc
	wastefulDesc   *prometheus.Desc
	mu             sync.Mutex
	named          map[string]*member
	waiting        waitingList
	other, former  tally
	untilTheHalves int // tokens
}

// tally is what one client_id shows.
type tally struct {
	byGrant  map[string]uint64
	wasteful uint64
}

// member is an application with a series.
type member struct {
	tally
	shown tally // at the last scrape
	score int
}

func newFleet(size int) *fleet {
	return &fleet{
		size: size,
		issuedDesc: prometheus.NewDesc(prometheus.BuildFQName(namespace, "oauth", "tokens_issued_total"),
			"Access tokens issued, by application and grant type. The busiest applications have a client_id, the rest are other; "+
				"former is what was counted for those that are no longer among the busiest, and says nothing of a rate.",
			[]string{"client_id", "grant"}, nil),
		wastefulDesc: prometheus.NewDesc(prometheus.BuildFQName(namespace, "oauth", "wasteful_tokens_total"),
			"Access tokens issued while the same application still held, for the same person, one with more than five minutes of its life left; "+
				"client_id as in foxbridge_oauth_tokens_issued_total.",
			[]string{"client_id"}, nil),
		named:          make(map[string]*member),
		waiting:        waitingList{byID: make(map[string]*waiter)},
		untilTheHalves: tokensPerSeries * size,
	}
}

func (t *tally) count(grant string, wasteful bool) {
	if t.byGrant == nil {
		t.byGrant = make(map[string]uint64)
	}
	t.byGrant[grant]++
	if wasteful {
		t.wasteful++
	}
}

func (t *tally) add(u tally) {
	if t.byGrant == nil {
		t.byGrant = make(map[string]uint64)
	}
	for grant, n := range u.byGrant {
		t.byGrant[grant] += n
	}
	t.wasteful += u.wasteful
}

// take is the opposite of add.
func (t *tally) take(u tally) {
	for grant, n := range u.byGrant {
		t.byGrant[grant] -= n
	}
	t.wasteful -= u.wasteful
}

func (t *tally) clone() tally {
	return tally{byGrant: maps.Clone(t.byGrant), wasteful: t.wasteful}
}

// issued counts a token.
func (f *fleet) issued(clientID, grant string, wasteful bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.age()
	m, ok := f.named[clientID]
	switch {
	case clientID == otherClients || clientID == formerClients:
		f.other.count(grant, wasteful)
		return
	case !ok && len(f.named) < f.size:
		m = &member{}
		f.named[clientID] = m
	case !ok:
		f.other.count(grant, wasteful)
		f.waiting.seen(clientID, waitingPerSeries*f.size)
		return
	}
	m.count(grant, wasteful)
	m.score++
}

// age halves the scores when it is time.
func (f *fleet) age() {
	f.untilTheHalves--
	if f.untilTheHalves > 0 {
		return
	}
	f.untilTheHalves = tokensPerSeries * f.size
	for _, m := range f.named {
		m.score /= 2
	}
	f.waiting.halve()
}

// exchange gives the series of the least busy application to one without, if that is
// so much busier.
func (f *fleet) exchange() {
	in := f.waiting.busiest()
	if in == nil || in.sure() < leastToEnter {
		return
	}
	out, m := "", (*member)(nil)
	for _, id := range slices.Sorted(maps.Keys(f.named)) { // sorted: of equals always the same
		if m == nil || f.named[id].score < m.score {
			out, m = id, f.named[id]
		}
	}
	if in.sure() <= 2*m.score {
		return
	}
	f.leave(out, m)
	f.waiting.remove(in)
	f.named[in.id] = &member{score: in.sure()}
	f.waiting.put(out, m.score)
}

// leave takes an application's series away.
func (f *fleet) leave(id string, m *member) {
	m.take(m.shown)
	f.former.add(m.shown)
	f.other.add(m.tally)
	delete(f.named, id)
}

// deleted forgets an application, and makes room for another one.
func (f *fleet) deleted(clientID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m, is := f.named[clientID]; is {
		f.leave(clientID, m)
	}
	if w, is := f.waiting.byID[clientID]; is {
		f.waiting.remove(w)
	}
}

// Describe implements prometheus.Collector.
func (f *fleet) Describe(ch chan<- *prometheus.Desc) {
	ch <- f.issuedDesc
	ch <- f.wastefulDesc
}

// Collect implements prometheus.Collector. It is what decides who has a series.
func (f *fleet) Collect(ch chan<- prometheus.Metric) {
	for _, m := range f.scrape() { // the lock is not held while somebody reads
		ch <- m
	}
}

func (f *fleet) scrape() []prometheus.Metric {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exchange()
	var all []prometheus.Metric
	show := func(clientID string, t tally) {
		for grant, n := range t.byGrant {
			all = append(all, prometheus.MustNewConstMetric(f.issuedDesc, prometheus.CounterValue, float64(n), clientID, grant))
		}
		all = append(all, prometheus.MustNewConstMetric(f.wastefulDesc, prometheus.CounterValue, float64(t.wasteful), clientID))
	}
	for id, m := range f.named {
		show(id, m.tally)
		m.shown = m.clone()
	}
	show(otherClients, f.other)
	show(formerClients, f.former)
	return all
}

// waiter is an application without a series.
type waiter struct {
	id    string
	score int // never less than its tokens
	error int // by how much the score may be too high
	place int // in the heap
}

// sure is how many tokens it has had at least, as far as they count.
func (w *waiter) sure() int { return w.score - w.error }

// waitingList is a heap of waiters, the lowest score at its top.
type waitingList struct {
	heap []*waiter
	byID map[string]*waiter
}

// seen counts a token of an application without a series, of which the list may hold
// so many. A new one takes the place of the one with the lowest score, and inherits
// that score as its error.
func (l *waitingList) seen(id string, limit int) {
	w, ok := l.byID[id]
	switch {
	case ok:
		w.score++
		heap.Fix(l, w.place)
	case len(l.heap) < limit:
		l.put(id, 1)
	default:
		w = l.heap[0]
		delete(l.byID, w.id)
		w.id, w.error = id, w.score
		w.score++
		l.byID[id] = w
		heap.Fix(l, 0)
	}
}

// put adds a new waiter, for whom there is room.
func (l *waitingList) put(id string, score int) {
	w := &waiter{id: id, score: score}
	l.byID[id] = w
	heap.Push(l, w)
}

func (l *waitingList) remove(w *waiter) {
	delete(l.byID, w.id)
	heap.Remove(l, w.place)
}

// busiest is who has surely had the most tokens, nil if nobody waits.
func (l *waitingList) busiest() *waiter {
	var best *waiter
	for _, w := range l.heap {
		if best == nil || w.sure() > best.sure() || w.sure() == best.sure() && w.id < best.id {
			best = w
		}
	}
	return best
}

// halve keeps the order of the heap: who had a lower score has none that is higher.
func (l *waitingList) halve() {
	for _, w := range l.heap {
		sure := w.sure() / 2
		w.score /= 2
		w.error = w.score - sure
	}
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (l *waitingList) Len() int           { return len(l.heap) }
func (l *waitingList) Less(a, b int) bool { return l.heap[a].score < l.heap[b].score }
func (l *waitingList) Swap(a, b int) {
	l.heap[a], l.heap[b] = l.heap[b], l.heap[a]
	l.heap[a].place, l.heap[b].place = a, b
}

// Push implements heap.Interface.
func (l *waitingList) Push(x any) {
	w := x.(*waiter)
	w.place = len(l.heap)
	l.heap = append(l.heap, w)
}

// Pop implements heap.Interface.
func (l *waitingList) Pop() any {
	w := l.heap[len(l.heap)-1]
	l.heap = l.heap[:len(l.heap)-1]
	return w
}
