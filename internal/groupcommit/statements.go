package groupcommit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// statementsMax bounds the prepared statements of one connection. Those of a program
// are fewer; what is past the bound is prepared each time.
const statementsMax = 512

// preparing is a connector whose connections prepare each statement once: to parse and
// plan one takes SQLite about as long as to run it.
type preparing struct{ driver.Connector }

// Connect opens a connection.
func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	below, is := c.(sqliteConn)
	if !is {
		return nil, errors.Join(fmt.Errorf("connect: the driver's %T does not do what is needed", c), c.Close())
	}
	return &preparingConn{below, make(map[string]*prepared)}, nil
}

// sqliteConn is what database/sql makes use of in the driver's connections.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// preparingConn is used by one goroutine at a time, like every driver.Conn.
type preparingConn struct {
	sqliteConn
	statements map[string]*prepared
}

type prepared struct {
	statement sqliteStatement
	busy      bool // its rows are being read
}

type sqliteStatement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func (c *preparingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	p, ready, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if !ready {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return p.statement.ExecContext(ctx, args)
}

func (c *preparingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	p, ready, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if !ready {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := p.statement.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	p.busy = true
	return preparedRows{rows, p}, nil
}

// prepared gives the statement. It is not ready, and has to be run without, while its
// rows are being read, or if there are too many.
func (c *preparingConn) prepared(ctx context.Context, query string) (p *prepared, ready bool, err error) {
	if p := c.statements[query]; p != nil {
		return p, !p.busy, nil
	}
	if len(c.statements) == statementsMax {
		return nil, false, nil
	}
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, false, err
	}
	statement, is := s.(sqliteStatement)
	if !is {
		return nil, false, errors.Join(fmt.Errorf("prepare: the driver's %T does not do what is needed", s), s.Close())
	}
	p = &prepared{statement: statement}
	c.statements[query] = p
	return p, true, nil
}

func (c *preparingConn) Close() error {
	var err error
	for _, p := range c.statements {
		err = errors.Join(err, p.statement.Close())
	}
	return errors.Join(err, c.sqliteConn.Close())
}

// preparedRows give their statement back when they are closed.
type preparedRows struct {
	driver.Rows
	of *prepared
}

func (r preparedRows) Close() error {
	r.of.busy = false
	return r.Rows.Close()
}
