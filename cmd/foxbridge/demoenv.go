package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// demoEnv is what a client of the demo needs to know, as the variables of demo.env.
type demoEnv struct {
	URL          string `json:"FOXBRIDGE_URL"`
	ClientID     string `json:"FOXBRIDGE_CLIENT_ID"`
	ClientSecret string `json:"FOXBRIDGE_CLIENT_SECRET"`
	Username     string `json:"FOXBRIDGE_USERNAME"`
	Password     string `json:"FOXBRIDGE_PASSWORD"`
	SiteID       string `json:"FOXBRIDGE_SITE_ID"`
	MQTTURL      string `json:"FOXBRIDGE_MQTT_URL"`
	OperatorURL  string `json:"FOXBRIDGE_OPERATOR_URL"`

	// An approved commercial application, and the demo application, which is that one.
	CommercialClientID     string `json:"FOXBRIDGE_COMMERCIAL_CLIENT_ID"`
	CommercialClientSecret string `json:"FOXBRIDGE_COMMERCIAL_CLIENT_SECRET"`
	CommercialRedirectURI  string `json:"FOXBRIDGE_COMMERCIAL_REDIRECT_URI"`
	DemoAppURL             string `json:"FOXBRIDGE_DEMO_APP_URL"`
}

// variable is one line of demo.env.
type variable struct{ name, value string }

func (e demoEnv) variables() []variable {
	return []variable{
		{"FOXBRIDGE_URL", e.URL},
		{"FOXBRIDGE_CLIENT_ID", e.ClientID},
		{"FOXBRIDGE_CLIENT_SECRET", e.ClientSecret},
		{"FOXBRIDGE_USERNAME", e.Username},
		{"FOXBRIDGE_PASSWORD", e.Password},
		{"FOXBRIDGE_SITE_ID", e.SiteID},
		{"FOXBRIDGE_MQTT_URL", e.MQTTURL},
		{"FOXBRIDGE_OPERATOR_URL", e.OperatorURL},
		{"FOXBRIDGE_COMMERCIAL_CLIENT_ID", e.CommercialClientID},
		{"FOXBRIDGE_COMMERCIAL_CLIENT_SECRET", e.CommercialClientSecret},
		{"FOXBRIDGE_COMMERCIAL_REDIRECT_URI", e.CommercialRedirectURI},
		{"FOXBRIDGE_DEMO_APP_URL", e.DemoAppURL},
	}
}

// lookup gives the value of a variable, empty for another name.
func (e demoEnv) lookup(name string) string {
	for _, v := range e.variables() {
		if v.name == name {
			return v.value
		}
	}
	return ""
}

// shell is the text of demo.env: lines that any POSIX shell can source.
func (e demoEnv) shell() []byte {
	var text bytes.Buffer
	for _, v := range e.variables() {
		fmt.Fprintf(&text, "export %s='%s'\n", v.name, strings.ReplaceAll(v.value, "'", `'\''`))
	}
	return text.Bytes()
}

// write puts demo.env at path, readable for its owner alone. Whoever reads path
// meanwhile finds the old file or the new one, never a half.
func (e demoEnv) write(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(e.shell())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// remove deletes demo.env if it still is the one that write left.
func (e demoEnv) remove(path string) error {
	stands, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !bytes.Equal(stands, e.shell()) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(path)
}
