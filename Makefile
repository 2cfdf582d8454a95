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
# The dependencies of a binary in the binary itself, and a bill of materials from there: it cannot say anything else.
CARGO_AUDITABLE_VERSION := 0.7.7
CARGO_AUDITABLE := $(CACHE)/cargo-auditable-$(CARGO_AUDITABLE_VERSION)/bin/cargo-auditable
AUDITABLE2CDX_VERSION := 0.1.0
AUDITABLE2CDX := $(CACHE)/auditable2cdx-$(AUDITABLE2CDX_VERSION)/bin/auditable2cdx

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
VERSION = $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Nothing is loaded when it starts: glibc is in the binary (docs/adr/0017). Only the last step of the build knows that.
STATIC := -C target-feature=+crt-static -C strip=symbols
# The files of the image, and the image.
ROOTFS := $(TARGET)/image/rootfs
ARCHIVE := $(TARGET)/image/ami-share-operator.tar
NAME = localhost/ami-share-operator:$(VERSION)
PACKER := cargo run --quiet --release --locked -p packer --

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
test: lint build node-image ## Run everything that CI runs
	@tests/python/venv.sh >/dev/null
	@$(TARGET)/debug/envtest build >/dev/null
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} cargo test --workspace --all-features --locked

# On the node that the tests start, or on the cluster of E2E_KUBECONFIG. `make test` runs them too.
.PHONY: node
node: build node-image ## Run only the tests on a real node
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} cargo test --workspace --all-features --locked --test node

# The operator as in the released image, but for the profile: without the simulator, and static. It has the features of dependencies
# that the tests have, and folders of its own only for what comes out: so nothing but the operator is compiled for it.
.PHONY: node-image
node-image: build
	@if [[ -n $${E2E_KUBECONFIG:-} ]]; then exit 0; \
	elif lacking=$$($(TARGET)/debug/envtest node --check 2>&1); then \
	  $(TARGET)/debug/envtest build --node >/dev/null && \
	  CARGO_BUILD_BUILD_DIR=$(TARGET) CARGO_TARGET_DIR=$(TARGET)/node-image cargo rustc --quiet --locked -p amishare --bin amishare \
	    --features model,tokio/test-util -- $(STATIC) && \
	  rm -rf $(TARGET)/node-image/rootfs && \
	  $(TARGET)/debug/packer rootfs --binary $(TARGET)/node-image/debug/amishare --into $(TARGET)/node-image/rootfs && \
	  $(TARGET)/debug/packer pack --rootfs $(TARGET)/node-image/rootfs --name $(NAME) \
	    --out $(TARGET)/node-image/image.tar --unmeasured >/dev/null; \
	elif [[ -n $${AMISHARE_REQUIRE_NODE:-} ]]; then echo "$$lacking" >&2; exit 1; fi

# Not a part of `make test`, which says the same of the same code every time: what is found here becomes a test there.
.PHONY: soak
soak: build ## Run schedules that nobody has run before (SCHEDULES=10000), a thousand in five minutes
	AMISHARE_SCHEDULES_FRESH=$(or $(SCHEDULES),10000) \
	  cargo test --workspace --all-features --locked --test it -- schedules::whatever --nocapture
	AMISHARE_DISTRIBUTION_ORDERS=$(or $(SCHEDULES),10000) AMISHARE_DISTRIBUTION_POINTS=all \
	  cargo test --workspace --all-features --locked --test it -- distribution::simulated --nocapture

# Not a part of `make test`: the release build takes minutes once, the run 25 minutes, and both want the machine for themselves.
.PHONY: bench
bench: toolchain ## Measure the operator beside a bare client and its peers; QUICK=1, or ONLY=small,peers,large,keys,memory,cpu,drift,copies
	@cargo build --release --locked --all-features -p amishare -p bench
	@target=$${CARGO_TARGET_DIR:-target} && $$target/release/bench run --amishare $$target/release/amishare \
	  $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

.PHONY: image
image: rootfs ## Pack the image without a Docker engine, and say how large it is and how soon it answers
	@$(PACKER) pack --rootfs $(ROOTFS) --name $(NAME) --out $(ARCHIVE)

# What the Dockerfile runs, too, and without a network once `cargo fetch` and `make image-tools` have run.
.PHONY: rootfs
rootfs: toolchain $(CARGO_AUDITABLE)
	$(CARGO_AUDITABLE) auditable rustc --release --locked -p amishare --bin amishare -- $(STATIC)
	@rm -rf $(ROOTFS)
	@$(PACKER) rootfs --binary $(TARGET)/release/amishare --into $(ROOTFS)

.PHONY: image-tools
image-tools: toolchain $(CARGO_AUDITABLE)

.PHONY: sbom
sbom: rootfs $(AUDITABLE2CDX) ## Write the image's bill of materials (CycloneDX), from what the binary says of itself
	@$(AUDITABLE2CDX) $(ROOTFS)/amishare >$(TARGET)/image/ami-share-operator.cdx.json
	@echo $(TARGET)/image/ami-share-operator.cdx.json

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

$(CARGO_AUDITABLE):
	@echo "Building cargo-auditable $(CARGO_AUDITABLE_VERSION), once, into $(CACHE)" >&2
	@cargo install cargo-auditable --version $(CARGO_AUDITABLE_VERSION) --locked --quiet \
	  --root $(CACHE)/cargo-auditable-$(CARGO_AUDITABLE_VERSION)

$(AUDITABLE2CDX):
	@echo "Building auditable2cdx $(AUDITABLE2CDX_VERSION), once, into $(CACHE)" >&2
	@cargo install auditable2cdx --version $(AUDITABLE2CDX_VERSION) --locked --quiet \
	  --root $(CACHE)/auditable2cdx-$(AUDITABLE2CDX_VERSION)
