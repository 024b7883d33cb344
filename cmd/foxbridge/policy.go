package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/policy"
)

// policyUsage describes --policy.
const policyUsage = "YAML `file` of the policy to try. docs/issuance.md tells its form."

// readPolicy reads a policy file; no name is the default policy.
func readPolicy(path string) (_ policy.Policy, err error) {
	if path == "" {
		return policy.Default(), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return policy.Policy{}, fmt.Errorf("read policy: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, policy.MaxFile+1))
	if err != nil {
		return policy.Policy{}, fmt.Errorf("read policy: %w", err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		return policy.Policy{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}
