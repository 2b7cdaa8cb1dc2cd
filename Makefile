# The only entry for people and CI. A target is at most three lines: what needs logic is Rust.
# See README.md for the first minute, CONTRIBUTING.md for everyday work.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# All builds are of the whole workspace: with other features, dependencies would be built again.
BUILD := cargo build --locked --workspace --bins
DEV := $(or $(CARGO_TARGET_DIR),target)/debug/bailiwick-dev
# Failures say where they come from themselves; a backtrace of the test runner says nothing.
export RUST_LIB_BACKTRACE ?= 0
MUSL := x86_64-unknown-linux-musl
NODE_PACKAGES := bash util-linux mount procps iproute2 iptables runc containernetworking-plugins buildah musl-tools
IMAGE := $(or $(CARGO_TARGET_DIR),target)/image.tar

.PHONY: help up down node-up node-down node-kubeconfig node-packages node-figures kubeconfig demo test fmt lint unit chart e2e bench crds image image-binaries clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

up: ## Start a local control plane with Bailiwick in it (needs Rust, and Go the first time)
	@$(BUILD) && $(DEV) up

down: ## End it, and whatever a crash left of it
	@test -x $(DEV) || $(BUILD) --quiet; $(DEV) down

node-up: ## Start the same with a real node that runs the image (Linux, as root; says what is missing)
	@$(BUILD) && $(DEV) node-up

node-down: ## End that, and whatever a crash left of it
	@test -x $(DEV) || $(BUILD) --quiet; $(DEV) node-down

node-kubeconfig: ## Print the path of that one's kubeconfig
	@test -x $(DEV) || $(BUILD) --quiet; $(DEV) kubeconfig --node

node-packages: ## Install what the node and the image need (Debian and Ubuntu, as root)
	apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(NODE_PACKAGES)
	rustup target add $(MUSL)

node-figures: ## Measure on a node what docs/figures.md says
	@$(BUILD) && $(DEV) node-figures

kubeconfig: ## Print the path of its kubeconfig (make -s kubeconfig prints nothing else)
	@test -x $(DEV) || $(BUILD) --quiet; $(DEV) kubeconfig

demo: ## Show what Bailiwick does, with real kubectl calls
	@$(BUILD) && $(DEV) demo

test: fmt lint unit e2e ## Run all checks and tests; those of the chart are end-to-end tests, too

fmt: ## Check the formatting
	cargo fmt --all --check

lint: ## Run clippy, warnings denied
	cargo clippy --locked --workspace --all-targets -- -D warnings

unit: ## Run unit and property tests
	cargo test --locked --workspace --exclude bailiwick-e2e

chart: ## Lint the chart and test its schema
	cargo test --locked -p bailiwick-e2e --test e2e chart::

e2e: ## Run the end-to-end tests on a real control plane, and on a real node where root can make one
	cargo test --locked --no-fail-fast -p bailiwick-e2e

bench: ## Run the benchmarks (ONLY="decision policies webhook edits fairness tenants": some of them)
	@$(BUILD) --release && $(or $(CARGO_TARGET_DIR),target)/release/bailiwick-bench $(ONLY)

crds: ## Write the chart's CRDs from the types
	cargo run --quiet --locked -p bailiwick-crds --bin crdgen -- charts/bailiwick/files/crds

image: ## Build the container image with buildah and write it to target/image.tar
	@mkdir -p $(dir $(IMAGE)) && $(BUILD) && $(DEV) image $(IMAGE)

image-binaries: ## Build the static binaries that the image holds, for docker or podman build (needs musl-tools)
	rustup target add $(MUSL)
	cargo build --locked --release --target $(MUSL) -p bailiwick-operator -p bailiwick-webhook -p bailiwick-cli --bins

clean: down ## End the cluster and remove what was built
	cargo clean
