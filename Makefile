.DEFAULT_GOAL := help
.PHONY: setup setup-tests demo test check conformance bench lock clean help
BIN := .venv/bin

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing: Debian packages (packages.txt) and .venv (requirements.lock)
	@scripts/setup

setup-tests:
	@scripts/setup --tests

demo: setup ## Set up, then show the main job on a lab of this machine (root); STEP=N for one step, SEED=000…004|all for docs/seeds.md
	$(BIN)/python demo/run.py $(if $(SEED),--seed $(SEED)) $(if $(STEP),--step $(STEP)) $(ARGS)

check: setup ## Lint, types, import contracts and unit tests: under a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit

test: setup-tests ## All tests; the lab's need root. What was skipped is told with its reason
	$(BIN)/python -m pytest -q -rsfE tests $(ARGS)

conformance: setup ## Istio's cases, istiod's configuration, reported incidents: a table, and floors that hold; ARGS=SUITE for some
	$(BIN)/python -m conformance $(ARGS)

bench: setup-tests ## The figures: time from apply to effect, sizes, throughput
	$(BIN)/python -m bench $(ARGS)

lock: setup ## Pin the newest Python packages that fit: rewrites requirements.lock
	scripts/lock --upgrade

clean: ## Remove caches and the virtual environment
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
