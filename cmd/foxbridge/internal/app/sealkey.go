package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/oauth"
)

// sealKeyFile is the file in the data directory that keeps a key that was drawn.
const sealKeyFile = "seal.key"

// sealKey gives the key of cfg, or the one in the data directory, which is drawn when
// it is not there. Of several processes that start at once one draws it.
func sealKey(cfg config.Config, log *slog.Logger) ([]byte, error) {
	if key, err := cfg.SealKeyBytes(); err != nil || key != nil {
		return key, err
	}
	path := filepath.Join(cfg.DataDir, sealKeyFile)
	if which, err := cfg.Database(); err == nil && which.Postgres != "" {
		log.Warn("seal-key is not set: other bridges of this database, and this one without its data directory, cannot check authenticator apps", "file", path)
	}
	key, err := readSealKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := drawSealKey(path); err != nil {
		return nil, fmt.Errorf("keep a new seal key (or set seal-key): %w", err)
	}
	log.Info("a seal key was drawn: keep a copy of it, apart from those of the database", "file", path)
	return readSealKey(path)
}

func readSealKey(path string) ([]byte, error) {
	text, err := config.ReadSecret(path)
	if err != nil {
		return nil, fmt.Errorf("read seal key: %w", err)
	}
	key, err := config.Config{SealKey: text}.SealKeyBytes()
	if err != nil || key == nil {
		return nil, fmt.Errorf("%s does not hold 64 hex digits", path)
	}
	return key, nil
}

// drawSealKey makes the file whole or not at all, for its owner alone. One that is
// there by then stays.
func drawSealKey(path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), sealKeyFile+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temporary.Name())) }()
	key := make([]byte, oauth.SealKeySize)
	rand.Read(key)
	_, err = temporary.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
