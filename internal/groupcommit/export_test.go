package groupcommit

import "time"

// What tests see of the inside.

// Limits of the queue and of a transaction.
const (
	QueueSize       = queueSize
	LargestPostgres = largestPostgres
	LargestSQLite   = largestSQLite
)

// Waiting counts the writes that were accepted and not yet taken up.
func (db *SQLite) Waiting() int { return len(db.commits.queue) }

// Waiting counts the writes that were accepted and not yet taken up.
func (db *Postgres) Waiting() int { return len(db.commits.queue) }

// Hurry shortens the times that a transaction and Close may take. It is called before
// the first write.
func (db *SQLite) Hurry(timeout, grace time.Duration) {
	db.commits.timeout, db.commits.grace = timeout, grace
}

// Hurry shortens the times that a transaction and Close may take. It is called before
// the first write.
func (db *Postgres) Hurry(timeout, grace time.Duration) {
	db.commits.timeout, db.commits.grace = timeout, grace
}

// HurryCallers shortens the time that a caller whose context has no deadline waits. It is
// called before the first write.
func (db *SQLite) HurryCallers(patience time.Duration) { db.commits.patience = patience }

// HurryCallers shortens the time that a caller whose context has no deadline waits. It is
// called before the first write.
func (db *Postgres) HurryCallers(patience time.Duration) { db.commits.patience = patience }
