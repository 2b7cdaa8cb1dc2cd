# The only entry for people and CI. A target is at most three lines: what needs logic is Rust.
# See README.md for the first minute, CONTRIBUTING.md for everyday work.

SHELL := /bin/bash -euo pipefail
DEV := cargo run --quiet --locked -p bailiwick-e2e --bin bailiwick-dev --
# Failures say where they come from themselves; a backtrace of the test runner says nothing.
export RUST_LIB_BACKTRACE ?= 0

.PHONY: help up down kubeconfig demo test fmt lint unit e2e bench crds chart image clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

up: ## Start a local control plane with Bailiwick in it (needs Rust, and Go the first time)
	@$(DEV) up

down: ## End it, and whatever a crash left of it
	@$(DEV) down

kubeconfig: ## Print the path of its kubeconfig (make -s kubeconfig prints nothing else)
	@$(DEV) kubeconfig

demo: ## Show what Bailiwick does, with real kubectl calls
	@$(DEV) demo

test: fmt lint unit chart e2e ## Run all checks and tests

fmt: ## Check the formatting
	cargo fmt --all --check

lint: ## Run clippy, warnings denied
	cargo clippy --locked --workspace --all-targets -- -D warnings

unit: ## Run unit and property tests
	cargo test --locked --workspace --exclude bailiwick-e2e

chart: ## Lint the chart and test its schema
	cargo test --locked -p bailiwick-e2e --test e2e chart::

e2e: ## Run the end-to-end tests on a real control plane
	cargo test --locked -p bailiwick-e2e

bench: ## Run the benchmarks
	cargo run --locked --release -p bailiwick-bench

crds: ## Write the chart's CRDs from the types
	cargo run --quiet --locked -p bailiwick-crds --bin crdgen -- charts/bailiwick/files/crds

image: ## Build the container image (ENGINE=docker|podman|buildah)
	$(or $(ENGINE),docker) build --tag ghcr.io/bailiwick/bailiwick:$(shell sed -nE 's/^version = "(.*)"/\1/p' Cargo.toml | head -1) .

clean: down ## End the cluster and remove what was built
	cargo clean
