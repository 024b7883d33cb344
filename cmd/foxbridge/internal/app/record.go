package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/deployments/migrations"
	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/devices/devicepgx"
	"github.com/foxbridge/foxbridge/devices/devicesqlite"
	"github.com/foxbridge/foxbridge/internal/groupcommit"
	"github.com/foxbridge/foxbridge/oauth"
	"github.com/foxbridge/foxbridge/oauth/oauthpgx"
	"github.com/foxbridge/foxbridge/oauth/oauthsqlite"
)

// Record is what a bridge knows for good, and the rules over it: the two domains on
// one database. Several processes may have the same record open.
type Record struct {
	OAuth   *oauth.Service
	Devices *devices.Service

	passwords *oauth.Passwords
	ping      func(context.Context) error
	claim     claim
	close     func() error
}

// OpenRecord opens the record that cfg names, for an administrator's command: its
// Devices command nothing. A SQLite database is created and migrated if need be, unless
// a bridge serves it; any other schema that is older or newer than this program is an
// error.
//
// To inspect it alone, a SQLite database is neither created nor migrated.
func OpenRecord(ctx context.Context, cfg config.Config, inspect bool) (*Record, error) {
	if inspect {
		if err := exists(cfg); err != nil {
			return nil, err
		}
	}
	return openRecord(ctx, cfg, recordOptions{inspect: inspect, now: time.Now, log: slog.New(slog.DiscardHandler)})
}

func exists(cfg config.Config) error {
	which, err := cfg.Database()
	if err != nil || which.SQLite == "" {
		return err
	}
	if _, err := os.Stat(which.SQLite); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no database at %s", which.SQLite)
	}
	return nil
}

// Close finishes the writes under way and closes the database.
func (r *Record) Close() error { return r.close() }

// observers are told what happens in a record; each may be nil.
type observers struct {
	oauth   oauth.Observer
	devices devices.Observer
	commits groupcommit.Observe
}

// recordOptions are what a bridge hands to its record.
type recordOptions struct {
	inspect bool   // the schema is not touched
	issuer  string // empty: nobody is authorized by this process
	sealKey []byte // nil: as oauth.Options has it
	tell    observers
	limits  *limits // nil: there are none
	now     func() time.Time
	log     *slog.Logger
}

func openRecord(ctx context.Context, cfg config.Config, o recordOptions) (*Record, error) {
	if err := cfg.CheckIssuance(); err != nil {
		return nil, err
	}
	if o.issuer != "" { // an administrator's command seals nothing
		var err error
		if o.sealKey, err = sealKey(cfg, o.log); err != nil {
			return nil, err
		}
	}
	db, err := openDatabase(ctx, cfg, o.inspect, o.tell.commits)
	if err != nil {
		return nil, err
	}
	r, err := newRecord(cfg, db, o)
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
	return r, nil
}

func newRecord(cfg config.Config, db database, o recordOptions) (*Record, error) {
	passwords, err := oauth.NewPasswords(oauth.PasswordOptions{Workers: cfg.PasswordWorkers, Queue: cfg.PasswordQueue})
	if err != nil {
		return nil, err
	}
	var admit oauth.Admit
	var budget devices.Budget
	if o.limits != nil {
		admit, budget = o.limits.Admit, o.limits
	}
	registrations := cfg.Registrations
	if registrations == 0 {
		registrations = -1 // any number
	}
	authorization, err := oauth.New(oauth.Options{
		Store: db.oauth, Passwords: passwords, Observer: o.tell.oauth, Now: o.now, Admit: admit,
		Issuer: o.issuer, OperatorContact: cfg.OperatorContact, Scopes: devices.Scopes(), SealKey: o.sealKey,
		Mode: oauth.Mode(cfg.IssuanceMode), Lever: oauth.Lever(cfg.IssuanceLever),
		Limits: &oauth.Limits{Hour: cfg.IssuanceHour, Day: cfg.IssuanceDay}, Registrations: registrations,
	})
	if err != nil {
		return nil, err
	}
	return &Record{
		OAuth: authorization,
		Devices: devices.New(devices.Options{
			Store: db.devices, Now: o.now, Logger: o.log, Observer: o.tell.devices,
			Wait: cfg.CommandWait, LaneDepth: cfg.LaneDepth, Budget: budget,
			Keep: devices.Keep{
				Interval: cfg.MeasurementInterval, Raw: cfg.MeasurementRaw, Measurements: cfg.MeasurementKeep, History: cfg.HistoryKeep,
			},
		}),
		passwords: passwords, ping: db.ping, claim: db.claim, close: db.close,
	}, nil
}

// database is one of the two kinds, with the stores on it.
type database struct {
	oauth   oauth.Store
	devices devices.Store
	ping    func(context.Context) error
	claim   claim
	close   func() error
}

func openDatabase(ctx context.Context, cfg config.Config, inspect bool, observe groupcommit.Observe) (database, error) {
	which, err := cfg.Database()
	if err != nil {
		return database{}, err
	}
	if which.Postgres != "" {
		return openPostgres(ctx, which.Postgres, observe)
	}
	return openSQLite(ctx, which.SQLite, inspect, observe)
}

func openPostgres(ctx context.Context, dsn string, observe groupcommit.Observe) (database, error) {
	if err := withSchema(ctx, migrations.Postgres, dsn, migrations.Check); err != nil {
		return database{}, err
	}
	db, err := groupcommit.OpenPostgres(ctx, dsn, observe)
	if err != nil {
		return database{}, err
	}
	return database{
		oauth: oauthpgx.New(db), devices: devicepgx.New(db),
		ping: db.Read().Ping, claim: claimSession(dsn), close: db.Close,
	}, nil
}

func openSQLite(ctx context.Context, path string, inspect bool, observe groupcommit.Observe) (database, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return database{}, fmt.Errorf("create data directory: %w", err)
	}
	db, err := groupcommit.OpenSQLite(ctx, path, observe) // first: it makes the file with the right mode
	if err != nil {
		return database{}, err
	}
	bring := migrateUnserved(path)
	if inspect {
		bring = migrations.Check
	}
	if err := withSchema(ctx, migrations.SQLite, path, bring); err != nil {
		return database{}, errors.Join(err, db.Close())
	}
	return database{
		oauth: oauthsqlite.New(db), devices: devicesqlite.New(db), claim: claimFile(path, fileClaimTimeout), close: db.Close,
		ping: func(ctx context.Context) error {
			var one int
			return db.Read().QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&one)
		},
	}, nil
}

// Migrate brings the database that cfg names to the schema of this program, and
// tells which kind it is.
func Migrate(ctx context.Context, cfg config.Config) (dialect string, err error) {
	which, err := cfg.Database()
	if err != nil {
		return "", err
	}
	if which.Postgres != "" {
		return string(migrations.Postgres), withSchema(ctx, migrations.Postgres, which.Postgres, migrations.Apply)
	}
	db, err := openSQLite(ctx, which.SQLite, false, nil)
	if err != nil {
		return "", err
	}
	return string(migrations.SQLite), db.close()
}

// migrateUnserved brings a SQLite database up to date, unless a bridge serves it: an older
// one would stand on a schema that it does not know. Nobody else migrates meanwhile.
func migrateUnserved(path string) func(context.Context, *sql.DB, migrations.Dialect) error {
	return func(ctx context.Context, db *sql.DB, d migrations.Dialect) error {
		err := migrations.Check(ctx, db, d)
		if schema, is := errors.AsType[*migrations.SchemaError](err); !is || schema.Have > schema.Want {
			return err
		}
		by, claimed := claimFile(path, claimTimeout)(ctx)
		if errors.Is(claimed, errClaimed) {
			return fmt.Errorf("%w, once the bridge that serves it has stopped", err)
		}
		if claimed != nil {
			return claimed
		}
		defer by.release()
		return migrations.Apply(ctx, db, d)
	}
}

// withSchema does what is to be done with a database's schema.
func withSchema(ctx context.Context, d migrations.Dialect, dsn string, do func(context.Context, *sql.DB, migrations.Dialect) error) (err error) {
	db, err := migrations.Open(d, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(ctx, db, d)
}
