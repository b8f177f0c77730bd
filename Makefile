# Two commands matter: `make demo` and `make test`. Each sets up everything that it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
BROWNIE := .venv-contracts/bin/brownie
# npm's own launcher of forge exits 0 whatever happened.
FORGE := node scripts/forge.mjs
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
export SOLCX_BINARY_PATH := $(CURDIR)/.solcx
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo kubo kubo-if-possible test test-python test-contracts test-deep coverage check format lock abi bench-gas bench-ipfs bench-merge bench-forgetting bench-fedavg bench-attacks clean need-python need-node

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

need-python:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 is needed, and none is on PATH (or name one: make PYTHON=...)"; exit 69; }

need-node:
	@node -e 'process.exit(+process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null || \
		{ echo "error: Node 20 or later is needed, with npm"; exit 69; }

.venv/.runtime: requirements/runtime.txt pyproject.toml | need-python
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements/runtime.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.venv/.dev: requirements/dev.txt .venv/.runtime
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

.venv-bench/.done: requirements/bench.txt | need-python
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --require-hashes -r requirements/bench.txt
	touch $@

.venv-contracts/.done: requirements/contracts.txt | need-python
	test -x .venv-contracts/bin/python || $(PYTHON) -m venv .venv-contracts
	.venv-contracts/bin/pip install --quiet --require-hashes -r requirements/contracts.txt
	touch $@

node_modules/.done: package.json package-lock.json | need-node
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

.solcx/solc-v0.8.37: node_modules/.done scripts/install_solc.mjs scripts/solc.cjs
	node scripts/install_solc.mjs
	touch $@

setup: .venv/.runtime node_modules/.done ## Set up what the running system needs

demo: setup ## Run a whole federation on this machine; options: make demo ARGS="--clients 3"
	$(BIN)/rondo demo $(ARGS)

kubo: need-python ## Find Kubo, the IPFS node, or build it once with Go, for `rondo demo --ipfs kubo` and the tests
	@$(PYTHON) scripts/kubo.py

kubo-if-possible: need-python
	@$(PYTHON) scripts/kubo.py --best-effort --seconds 1200

CORE_TESTS := tests/protocol tests/processor tests/network tests/attacks

test: test-python test-contracts coverage ## Set up and run every test

test-python: .venv/.dev node_modules/.done kubo-if-possible ## Unit, property, attack and end-to-end tests
	mkdir -p build
	@# Two halves side by side: the core's tests compute, the others mostly wait for processes of their own.
	@failed=0; $(BIN)/python -m pytest -p no:cacheprovider $(ARGS) $(CORE_TESTS) > build/core-tests.log 2>&1 & core=$$!; \
	$(BIN)/python -m pytest $(ARGS) tests $(CORE_TESTS:%=--ignore=%) || failed=$$?; \
	wait $$core || failed=$$?; cat build/core-tests.log; exit $$failed

test-contracts: .venv-contracts/.done .solcx/solc-v0.8.37 ## Brownie tests on anvil, forge fuzz and invariants
	mkdir -p build
	$(BROWNIE) test
	$(FORGE) test

coverage: .venv/.dev .solcx/solc-v0.8.37 ## Show which lines and branches of the contracts forge's tests reach; 98 % at least
	$(BIN)/python scripts/contract_coverage.py

test-deep: .solcx/solc-v0.8.37 ## Hunt the contracts' laws with a million calls in each campaign; takes hours
	mkdir -p build
	FOUNDRY_PROFILE=deep $(FORGE) test

check: .venv/.dev .solcx/solc-v0.8.37 ## Lint, format check, types; the committed ABI is fresh; slither
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(FORGE) fmt --check
	$(BIN)/python scripts/write_abi.py --check
	$(BIN)/python scripts/run_slither.py

format: .venv/.dev .solcx/solc-v0.8.37 ## Format Python and Solidity
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(FORGE) fmt

abi: .venv/.runtime .solcx/solc-v0.8.37 ## Compile the contracts and write network/abi
	$(BIN)/python scripts/write_abi.py

bench-gas: setup .solcx/solc-v0.8.37 ## Measure gas on anvil and write benchmarks/results/gas.json; some minutes
	$(BIN)/python scripts/write_abi.py --check
	$(BIN)/python -m benchmarks.gas $(ARGS)

bench-ipfs: setup kubo ## Measure content stores beside the ipfs command and write benchmarks/results/ipfs.json; some minutes
	$(BIN)/python -m benchmarks.ipfs $(ARGS)

bench-merge: setup .venv-bench/.done ## Measure merging beside Flower and write benchmarks/results/merge.json; some minutes
	$(BIN)/python -m benchmarks.merge $(ARGS)

bench-forgetting: setup .venv-bench/.done ## Measure what rounds of new data make the model forget; about an hour; reads MNIST
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.forgetting $(ARGS)
	$(if $(findstring --quick,$(ARGS)),,.venv-bench/bin/python -m benchmarks.plot forgetting)

bench-fedavg: setup .venv-bench/.done ## Measure rounds to 97 % on MNIST, quantised and in float32; hours; reads MNIST
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fedavg $(ARGS)
	$(if $(findstring --quick,$(ARGS)),,.venv-bench/bin/python -m benchmarks.plot fedavg)

bench-attacks: setup ## Measure accuracy under attack of every merge rule and write its table; some minutes
	$(BIN)/python -m benchmarks.attacks $(ARGS)

UV_COMPILE := $(CURDIR)/$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

lock: .venv/.dev ## Pin the newest dependencies that pyproject.toml allows, with hashes and without addresses
	cd requirements && $(UV_COMPILE) --upgrade --group ../pyproject.toml:dev ../pyproject.toml -o dev.txt
	cd requirements && $(UV_COMPILE) --upgrade ../pyproject.toml -c dev.txt -o runtime.txt
	cd requirements && $(UV_COMPILE) --upgrade --group ../pyproject.toml:contracts -o contracts.txt
	cd requirements && $(UV_COMPILE) --upgrade --group ../pyproject.toml:bench -o bench.txt
	! grep -nE 'https?://|--(extra-)?index-url' requirements/*.txt

clean: ## Remove everything that can be made again
	rm -rf .venv .venv-contracts .venv-bench node_modules .solcx build
