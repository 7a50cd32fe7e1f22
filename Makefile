# `make` lists what there is to do. Everything is plain cargo underneath; what this adds is installing what is missing
# (.ci/setup) and, on NixOS, entering the dev shell (.ci/with).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# Absolute, since tests run in the folder of their package.
CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
export CARGO_TARGET_DIR
# Right after rustup's installation a shell does not know cargo yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

PREFIX ?= /usr/local
QUORIX := $(CARGO_TARGET_DIR)/debug/quorix
RELEASE := $(CARGO_TARGET_DIR)/release/quorix
WITH := bash .ci/with

BENCH_ENTRIES ?= 1000000

.PHONY: help demo test bench build install fmt lint deps clean

help: ## List these targets
	@echo "Quorix: install a Nix binary because enough independent builders got the same bytes."
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/    make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z]*\):.*## \(.*\)/    make \1    \2/p' Makefile
	@echo
	@echo "Build products go to CARGO_TARGET_DIR (now $(CARGO_TARGET_DIR))."

demo: ## Show the main job on real builds; ARGS=--check asserts everything and exits
	@bash .ci/setup demo
	@$(WITH) cargo build --locked -p quorix
	@$(WITH) "$(QUORIX)" demo $(ARGS)

test: ## Run every test, with the real Nix and a real browser
	@bash .ci/setup test
	@$(WITH) cargo build --locked -p quorix
	@QUORIX_BIN="$(QUORIX)" $(WITH) cargo test --workspace --locked --no-fail-fast

bench: ## Measure what `make install` installs, one line a figure; BENCH_ENTRIES=10000000 for the large log
	@bash .ci/setup build
	@$(WITH) cargo build --locked --release -p quorix
	@$(WITH) cargo bench --locked -p quorix-tlog --bench tree
	@$(WITH) "$(RELEASE)" bench log --entries $(BENCH_ENTRIES) $(ARGS)
	@$(WITH) "$(RELEASE)" bench aggregator $(ARGS)

build: ## Build the program (the profile that the demo and the tests share)
	@bash .ci/setup build
	@$(WITH) cargo build --locked -p quorix
	@echo "Built $(QUORIX)"

install: ## Build an optimised program (RocksDB once more) and put it under PREFIX (/usr/local)
	@bash .ci/setup build
	@$(WITH) cargo build --locked --release -p quorix
	@if mkdir -p "$(DESTDIR)$(PREFIX)/bin" 2>/dev/null && [ -w "$(DESTDIR)$(PREFIX)/bin" ]; then as=; else as=sudo; fi; \
		set -x; $$as install -D -m 755 "$(RELEASE)" "$(DESTDIR)$(PREFIX)/bin/quorix"

fmt: ## Format the code
	@$(WITH) cargo fmt --all

lint: ## Check the format, and clippy with warnings denied
	@bash .ci/setup build
	@$(WITH) cargo fmt --all --check
	@$(WITH) cargo clippy --workspace --all-targets --locked -- -D warnings

deps: ## Check the dependencies: licences, bans, sources, yanked releases, advisories
	@$(WITH) bash .ci/deps

clean: ## Remove everything that was built, RocksDB too
	@$(WITH) cargo clean
