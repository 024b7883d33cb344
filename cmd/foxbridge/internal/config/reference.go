package config

import (
	"fmt"
	"strings"
)

// Reference is the manual of all settings, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Made from the settings' own descriptions by "make docs"; do not edit. -->

` + "`foxbridge serve`" + ` reads each setting from a flag, from an environment variable and from an
optional YAML file (` + "`--config`" + ` or ` + "`FOXBRIDGE_CONFIG`" + `), in which a key is the flag's name without its
dashes. A flag wins over the environment, the environment over the file, the file over the
default. A variable that is set but empty counts as not set. Unknown keys and bad values are
refused at start, by name. The administrator's commands (` + "`user`, `app`, `site`, `unit`, `migrate`" + `)
read the same settings, so they find the same database.

`)
	b.WriteString("| key | variable | default | allowed | meaning |\n|---|---|---|---|---|\n")
	for _, k := range Keys() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", k.Name, k.Env, code(k.Default), allowedCell(k), k.Doc)
	}
	b.WriteString(`
A secret can be kept in a file: give the file's name under the key with ` + "`-file`" + ` behind it
(variable with ` + "`_FILE`" + `). One newline at the file's end is not part of the secret. Giving the
secret and its file both is refused.

| secret | its file | variable of its file |
|---|---|---|
`)
	for _, k := range Keys() {
		if k.Secret {
			fmt.Fprintf(&b, "| `%s` | `%s` | `%s` |\n", k.Name, k.Name+fileSuffix, envName(k.Name+fileSuffix))
		}
	}
	b.WriteString(`
These variables belong to clients of a bridge and are left alone: `)
	for i, name := range clientVariables() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(code(name))
	}
	b.WriteString(".\n")
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func allowedCell(k Key) string {
	if k.Allowed != "" {
		return k.Allowed
	}
	if k.Type() == "bool" {
		return "true, false"
	}
	return ""
}
