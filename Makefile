# Two commands matter: `make demo` and `make test`. Each sets up everything that it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
BROWNIE := .venv-contracts/bin/brownie
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
export SOLCX_BINARY_PATH := $(CURDIR)/.solcx
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Brownie and its compiler wrapper look things up in the home directory; nothing of ours belongs there.

.PHONY: help setup demo test test-python test-contracts check format lock abi clean need-python need-node

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

need-python:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 is needed, and none is on PATH (or name one: make PYTHON=...)"; exit 69; }

need-node:
	@node -e 'process.exit(+process.versions.node.split(".")[0] < 20)' 2>/dev/null || \
		{ echo "error: Node 20 or later is needed, with npm"; exit 69; }

.venv/.runtime: requirements/runtime.txt pyproject.toml | need-python
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements/runtime.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.venv/.dev: requirements/dev.txt .venv/.runtime
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

.venv-contracts/.done: requirements/contracts.txt | need-python
	test -x .venv-contracts/bin/python || $(PYTHON) -m venv .venv-contracts
	.venv-contracts/bin/pip install --quiet --require-hashes -r requirements/contracts.txt
	touch $@

node_modules/.done: package.json package-lock.json | need-node
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

setup: .venv/.runtime node_modules/.done ## Set up what the running system needs

demo: setup ## Run a whole federation on this machine (arguments: make demo ARGS="--clients 3")
	$(BIN)/rondo demo $(ARGS)

clean: ## Remove everything that can be made again
	rm -rf .venv .venv-contracts node_modules .solcx build
