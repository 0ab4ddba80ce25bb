.DEFAULT_GOAL := help
.PHONY: setup setup-tests demo test lint check conformance bench image lock clean help
BIN := .venv/bin
# Tests side by side, file by file: those of a lab wait more than they work.
WORKERS ?= 2

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing: Debian packages (packages.txt) and .venv (requirements.lock)
	@scripts/setup

setup-tests:
	@scripts/setup --tests

demo: setup ## Set up, then show the main job on a lab of this machine (root); STEP=N for one step, SEED=000…004|all for docs/seeds.md
	$(BIN)/python demo/run.py $(if $(SEED),--seed $(SEED)) $(if $(STEP),--step $(STEP)) $(ARGS)

lint: setup ## Linters, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## Lint and unit tests: under a minute
	$(BIN)/python -m pytest -q tests/unit

test: setup-tests ## All tests; the lab's need root. What was skipped is told with its reason
	$(BIN)/python -m pytest -q -rsfE -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests $(ARGS)

conformance: setup ## Istio's cases, istiod's configuration, reported incidents: a table, and floors that hold; ARGS=SUITE for some
	$(BIN)/python -m conformance $(ARGS)

bench: setup-tests ## The figures: time from apply to effect, sizes, throughput
	$(BIN)/python -m bench $(ARGS)

image: ## The container image, into .cache/image; ARGS=FILE for an archive of it too (root)
	@scripts/image $(ARGS)

lock: setup ## Pin the newest Python packages that fit: rewrites requirements.lock
	scripts/lock --upgrade

clean: ## Remove caches and the virtual environment
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
