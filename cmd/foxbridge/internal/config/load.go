package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	envPrefix = "FOXBRIDGE_"
	// fileKey names the optional file. It is no field of Config: a file cannot name
	// another one.
	fileKey = "config"
	// fileSuffix behind a secret's key names a file that holds it.
	fileSuffix = "-file"
	// maxFile is the most that is read of a file, in bytes.
	maxFile = 1 << 20
)

// clientVariables belong to clients of a bridge: demo.env sets them, and a shell
// that has sourced it can still start a bridge.
func clientVariables() []string {
	return []string{
		"FOXBRIDGE_URL", "FOXBRIDGE_CLIENT_ID", "FOXBRIDGE_CLIENT_SECRET",
		"FOXBRIDGE_USERNAME", "FOXBRIDGE_PASSWORD", "FOXBRIDGE_SITE_ID",
		"FOXBRIDGE_MQTT_URL", "FOXBRIDGE_OPERATOR_URL",
		"FOXBRIDGE_COMMERCIAL_CLIENT_ID", "FOXBRIDGE_COMMERCIAL_CLIENT_SECRET",
		"FOXBRIDGE_COMMERCIAL_REDIRECT_URI", "FOXBRIDGE_DEMO_APP_URL",
	}
}

// AddFileFlag defines --config, the file of settings.
func AddFileFlag(flags *pflag.FlagSet) {
	flags.String(fileKey, "", "YAML `file` of settings, each named as its flag without the dashes. A flag wins over the environment, the environment over the file. (environment "+envName(fileKey)+")")
}

// AddFlags defines the flags of the named keys, or of all keys if none is named. What
// they are given is checked by Load.
func AddFlags(flags *pflag.FlagSet, names ...string) {
	for _, k := range Keys() {
		if len(names) > 0 && !slices.Contains(names, k.Name) {
			continue
		}
		f := flags.VarPF(&flag{typ: k.Type(), text: k.Default}, k.Name, "", k.usage())
		if k.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
		if k.Secret {
			flags.String(k.Name+fileSuffix, "", "`file` that holds "+k.Name+", instead of it. (environment "+envName(k.Name+fileSuffix)+")")
		}
	}
}

func (k Key) usage() string {
	usage := k.Doc
	if k.Allowed != "" {
		usage += " Allowed: " + k.Allowed + "."
	}
	usage += " (environment " + k.Env + ")"
	if k.Default == "0" || k.Default == "false" {
		usage += " (default " + k.Default + ")" // pflag does not show it
	}
	return usage
}

// flag is a pflag.Value that keeps the text as it was given.
type flag struct{ typ, text string }

func (f *flag) Type() string          { return f.typ }
func (f *flag) String() string        { return f.text }
func (f *flag) Set(text string) error { f.text = text; return nil }

// Load reads the settings. A flag that was given wins over its variable in environ
// (in the form of os.Environ; set but empty is as not set), a variable over the file,
// the file over the default: that of the flag if flags has it, else that of the key.
// An unknown key, a bad value and a secret that is given both ways are refused by the
// name under which the user wrote them.
func Load(flags *pflag.FlagSet, environ []string) (Config, error) {
	given, err := fromFlags(flags)
	if err != nil {
		return Config{}, err
	}
	variables, err := fromEnviron(environ)
	if err != nil {
		return Config{}, err
	}
	layers := []layer{given, variables}
	if path, _, ok := lookup(layers, fileKey); ok {
		file, err := fromFile(fmt.Sprint(path))
		if err != nil {
			return Config{}, err
		}
		layers = append(layers, file)
	}
	defaults, err := defaultsOf(flags)
	if err != nil {
		return Config{}, err
	}
	return decode(append(layers, defaults))
}

// layer is one source of settings, by key; name tells how the user wrote a key in it.
type layer struct {
	values *koanf.Koanf
	name   func(key string) string
}

// newLayer loads provider, which may give any values; keys and values are checked later.
func newLayer(provider koanf.Provider, name func(string) string) (layer, error) {
	k := koanf.New(".")
	if err := k.Load(provider, nil); err != nil {
		return layer{}, fmt.Errorf("read settings: %w", err)
	}
	return layer{values: k, name: name}, nil
}

func fromFlags(flags *pflag.FlagSet) (layer, error) {
	given := func(f *pflag.Flag) (string, any) {
		if !f.Changed || !isKey(f.Name) {
			return "", nil
		}
		return f.Name, f.Value.String()
	}
	return newLayer(posflag.ProviderWithFlag(flags, "", nil, given), func(key string) string { return "--" + key })
}

func defaultsOf(flags *pflag.FlagSet) (layer, error) {
	values := make(map[string]any)
	for _, k := range Keys() {
		values[k.Name] = k.Default
		if f := flags.Lookup(k.Name); f != nil {
			values[k.Name] = f.DefValue
		}
	}
	return newLayer(confmap.Provider(values, ""), func(key string) string { return "default of " + key })
}

func fromEnviron(environ []string) (layer, error) {
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(clientVariables(), name) {
			continue
		}
		if key := envKey(name); !isKey(key) || envName(key) != name {
			return layer{}, fmt.Errorf("unknown environment variable %s", name)
		}
	}
	return newLayer(env.Provider("", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if value == "" || !isKey(envKey(name)) {
				return "", nil
			}
			return envKey(name), value
		},
	}), envName)
}

func fromFile(path string) (layer, error) {
	text, err := readFile(path)
	if err != nil {
		return layer{}, fmt.Errorf("read configuration: %w", err)
	}
	return fromYAML(path, text)
}

func fromYAML(path string, text []byte) (layer, error) {
	values, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		return layer{}, fmt.Errorf("read configuration %s: %w", path, err)
	}
	for key := range values {
		if key == fileKey || !isKey(key) {
			return layer{}, fmt.Errorf("unknown key %q in %s", key, path)
		}
	}
	return newLayer(confmap.Provider(values, ""), func(key string) string { return key + " in " + path })
}

// isKey reports whether key is a setting, a secret's file or the file of settings.
func isKey(key string) bool {
	return key == fileKey || slices.ContainsFunc(Keys(), func(k Key) bool {
		return k.Name == key || k.Secret && k.Name+fileSuffix == key
	})
}

// lookup finds a key in the first layer that has it, and how the user wrote it there.
func lookup(layers []layer, key string) (value any, name string, ok bool) {
	for _, l := range layers {
		if l.values.Exists(key) {
			return l.values.Get(key), l.name(key), true
		}
	}
	return nil, "", false
}

func decode(layers []layer) (Config, error) {
	var c Config
	for _, k := range Keys() {
		value, name, err := k.find(layers)
		if err != nil {
			return Config{}, err
		}
		if k.Default == "" && value == "" {
			continue
		}
		field := reflect.ValueOf(&c).Elem().FieldByIndex(k.field.Index)
		text, err := textOf(value)
		if err == nil {
			err = k.parse(text, field)
		}
		if err == nil {
			err = k.check(field)
		}
		if err != nil {
			return Config{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

// find gives the value that holds for k; for a secret, out of its file if that was given.
func (k Key) find(layers []layer) (value any, name string, err error) {
	value, name, _ = lookup(layers, k.Name)
	if !k.Secret {
		return value, name, nil
	}
	path, pathName, ok := lookup(layers, k.Name+fileSuffix)
	if !ok {
		return value, name, nil
	}
	if value != k.Default {
		return nil, "", fmt.Errorf("%s and %s are both given", name, pathName)
	}
	text, err := textOf(path)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", pathName, err)
	}
	secret, err := ReadSecret(text)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", pathName, err)
	}
	return secret, pathName, nil
}

// textOf is the text of a value: a YAML number or truth value may stand without quotes.
func textOf(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	default:
		return "", errors.New("is not a single value")
	}
}

// ReadSecret reads a secret out of a file, without one newline at its end.
func ReadSecret(path string) (string, error) {
	text, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return string(bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))), nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return text, nil
}
