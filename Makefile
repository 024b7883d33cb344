# Foxbridge. "make help" lists what can be made.

SHELL   := /bin/bash
GO      ?= go
BIN     := bin/foxbridge
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
PKG     ?= ./...
FUZZTIME ?= 10s

# SQLite is C translated to Go and argon2 is arithmetic: neither shares memory in Go's
# way, and with the race detector's calls in them the tests take four times as long.
# Everything else is instrumented. In the environment, so that the programs which tests
# build have it too.
WATCHED := $(GOFLAGS) -gcflags=modernc.org/...=-race=false -gcflags=golang.org/x/crypto/...=-race=false

.DEFAULT_GOAL := help
.PHONY: help demo build test race fuzz bench screenshots lint fmt docs verify numbers clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## a whole bridge with a simulated home and the demo application, until Ctrl-C (ARGS=--once: play the story and end)
	@exec $(BIN) demo $(ARGS)

build: ## the static binary, bin/foxbridge
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) ./cmd/foxbridge

test: ## everything, under the race detector; gets PostgreSQL, Chromium, Prometheus, the MQTT tools and stock OAuth clients by itself, and starts what it needs
	.ci/install-tools
	GOFLAGS='$(WATCHED)' .ci/with-postgres $(GO) test -race -timeout 19m $(PKG)

race: ## tests under the race detector on what is installed, without cached results
	GOFLAGS='$(WATCHED)' $(GO) test -race -count=1 $(PKG)

fuzz: ## each fuzz target for FUZZTIME (10s)
	@set -eu; grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -h '^func Fuzz' "$$dir"/*_test.go | sed 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do \
			echo "== $$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null; \
		done; \
	done

bench: ## benchmarks; absolute times of a shared machine prove nothing, ratios do
	$(GO) test -run '^$$' -bench . -benchmem $(PKG)

screenshots: ## a picture of each page, as on a phone and at a desk, light and dark, in ./screenshots
	.ci/install-tools
	rm -rf screenshots
	TEST_FOXBRIDGE_SCREENSHOTS=$(CURDIR)/screenshots $(GO) test -count=1 -run '^TestBrowser' ./cmd/foxbridge

lint: ## golangci-lint if it is there, else go vet and staticcheck
	@if command -v golangci-lint >/dev/null; then \
		golangci-lint run; \
	else \
		$(GO) vet ./... && $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...; \
	fi

fmt: ## format the code
	gofmt -s -w .

docs: ## docs/configuration.md, docs/openapi.json and the scopes of docs/commercial.md, from the settings' own descriptions and the catalogue
	$(GO) test ./cmd/foxbridge/internal/config -run TestReferenceIsFresh -count=1 -update
	$(GO) test ./cmd/foxbridge/internal/apidoc -run 'TestDocumentIsFresh|TestTableOfScopesIsFresh' -count=1 -update

verify: ## that the tree is formatted, vetted and tidy, and what is generated is fresh
	@unformatted=$$(gofmt -s -l .); test -z "$$unformatted" || { echo "not formatted: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) mod tidy -diff
	$(GO) mod verify
	$(GO) test ./cmd/foxbridge/internal/config -run TestReferenceIsFresh -count=1
	$(GO) test ./cmd/foxbridge/internal/apidoc -run 'TestDocumentIsFresh|TestTableOfScopesIsFresh' -count=1

numbers: build ## size, start and memory of the static binary, as a Markdown table
	@.ci/numbers $(BIN)

clean: ## remove what was built
	rm -rf bin screenshots
