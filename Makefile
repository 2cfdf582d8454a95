# Everything that people and CI run. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One feature set and one profile for building, testing and the demo: every other one compiles aws-sdk-ec2 again, which takes
# minutes and 7 GB.
BUILD := --workspace --all-features --all-targets --locked
CACHE := $(or $(AMISHARE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/amishare)
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

# The user's own KUBECONFIG is taken only when it is given to make by name, never from the environment by accident.
DEMO_KUBECONFIG := $(if $(filter command line,$(origin KUBECONFIG)),$(abspath $(KUBECONFIG)))

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: programs ## Show the main job on a simulated AWS; KUBECONFIG=FILE uses your cluster, otherwise a local API server is started
	@tests/demo/demo.sh $(DEMO_KUBECONFIG)

# Most tests wait for something most of the time: more threads than cores halve the wait.
.PHONY: test
test: lint build ## Run everything that CI runs
	@tests/python/venv.sh >/dev/null
	@target=$${CARGO_TARGET_DIR:-target} && $$target/debug/envtest build >/dev/null
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} cargo test --workspace --all-features --locked

# Not a part of `make test`: the release build takes minutes once, the run 25 minutes, and both want the machine for themselves.
.PHONY: bench
bench: toolchain ## Measure the operator beside a bare client and its peers; QUICK=1, or ONLY=small,peers,large,memory,cpu,drift
	@cargo build --release --locked --all-features -p amishare -p bench
	@target=$${CARGO_TARGET_DIR:-target} && $$target/release/bench run --amishare $$target/release/amishare \
	  $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

.PHONY: build
build: toolchain ## Build everything
	@cargo build $(BUILD)

# What the demo needs of it: no tests, no benchmark.
.PHONY: programs
programs: toolchain
	@cargo build --workspace --all-features --bins --locked

.PHONY: lint
lint: toolchain $(CARGO_DENY) ## Check format, clippy, dependencies and generated files
	cargo fmt --all --check
	cargo clippy $(BUILD) -- -D warnings
	$(CARGO_DENY) --workspace --all-features check bans licenses sources
	@$(MAKE) --no-print-directory generated

.PHONY: generate
generate: toolchain ## Write crds/, the generated docs, the chart's records and config/
	cargo run --quiet --all-features --locked -- crds --write .
	AMISHARE_REWRITE=1 cargo test --quiet --all-features --locked --test it -- chart::written kustomize::the_files

# The test `generated` says the same; this is the quick answer, before all other tests.
.PHONY: generated
generated:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	cargo run --quiet --all-features --locked -- crds --write "$$folder" && \
	for file in $$(cd "$$folder" && find . -type f); do \
	  cmp -s "$$folder/$$file" "$$file" || { echo "$$file is stale: run make generate" >&2; exit 1; }; \
	done

.PHONY: advisories
advisories: $(CARGO_DENY) ## Check dependencies for known vulnerabilities (needs github.com)
	$(CARGO_DENY) --workspace --all-features check advisories

.PHONY: clean
clean: ## Remove what was built here; ~/.cache/amishare stays
	cargo clean

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 with rustup" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: apt-get install build-essential cmake" >&2; exit 1; }

$(CARGO_DENY):
	@echo "Building cargo-deny $(CARGO_DENY_VERSION), once, into $(CACHE)" >&2
	@cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --quiet --root $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)
