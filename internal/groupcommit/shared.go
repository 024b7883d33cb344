package groupcommit

import (
	"fmt"
	"maps"
	"slices"
)

// Shared is what a write has done together with the other writes of its transaction: a
// Lock before the first one begins, a Tail after the last one. One statement for all of
// them costs each far less than one of its own.
type Shared interface{ join(w *postgresWrite) }

// Lock is a row that a write holds until its transaction ends. The locks of a transaction
// are taken in one order: so a write sees what was committed by whoever held one before,
// and no two transactions wait for each other's.
type Lock struct {
	// SQL locks the rows named by its one parameter, a text[], in the order of their names.
	// That is sorted by bytes and has no name twice. A name without a row is no error.
	SQL string
	Row string // the name of this one
}

func (l Lock) join(w *postgresWrite) { w.locks = append(w.locks, l) }

// Tail is a row that a write leaves for the end of its transaction. If the statement that
// takes it in is refused, nothing of the transaction holds.
type Tail struct {
	// SQL takes in rows by their columns: each parameter is an array with a value of each row.
	SQL string
	// Row gives the values of this one, always of the same types, or nil for none. It is
	// called after the write, if that was not refused, under the terms of its function.
	Row func() []any
}

func (t Tail) join(w *postgresWrite) { w.tails = append(w.tails, t) }

// locksOf gives the statements that lock what the calls ask for, each row once.
func locksOf(calls []*call[postgresWrite]) []statement {
	rows := map[string][]string{}
	for _, call := range calls {
		for _, lock := range call.what.locks {
			rows[lock.SQL] = append(rows[lock.SQL], lock.Row)
		}
	}
	var all []statement
	for _, sql := range slices.Sorted(maps.Keys(rows)) {
		slices.Sort(rows[sql])
		all = append(all, statement{sql: sql, args: []any{slices.Compact(rows[sql])}})
	}
	return all
}

// tailsOf gives the statements that take in what the calls leave that were not refused.
func tailsOf(calls []*call[postgresWrite]) ([]statement, error) {
	columns := map[string][][]any{}
	for _, call := range calls {
		if call.err != nil {
			continue
		}
		for _, tail := range call.what.tails {
			if err := guard(func() error { return addRow(columns, tail) }); err != nil {
				return nil, fmt.Errorf("take in what a write left: %w", err)
			}
		}
	}
	var all []statement
	for _, sql := range slices.Sorted(maps.Keys(columns)) {
		takeIn := statement{sql: sql}
		for _, column := range columns[sql] {
			takeIn.args = append(takeIn.args, column)
		}
		all = append(all, takeIn)
	}
	return all, nil
}

func addRow(columns map[string][][]any, tail Tail) error {
	row := tail.Row()
	if row == nil {
		return nil
	}
	if columns[tail.SQL] == nil {
		columns[tail.SQL] = make([][]any, len(row))
	}
	if len(row) != len(columns[tail.SQL]) {
		return fmt.Errorf("%d values for %d columns", len(row), len(columns[tail.SQL]))
	}
	for i, value := range row {
		columns[tail.SQL][i] = append(columns[tail.SQL][i], value)
	}
	return nil
}
