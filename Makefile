# `make demo` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Each process has servers of its own, and takes tests from the others when it is done. Three keep two cores busy: tests wait.
PARALLEL := -n 3 --dist worksteal
# Compiled files are kept, whatever the environment says: tests start hundreds of Python processes.
export PYTHONDONTWRITEBYTECODE :=
# A stamp's name holds what it was made from: a changed lock or a moved folder is seen whatever a checkout did to the
# times of files.
key = $(shell (pwd; cat $(1)) | cksum | cut -d' ' -f1)
LOCKED := .venv/.locked-$(call key,requirements.lock)
PROJECT := .venv/.project-$(call key,requirements.lock pyproject.toml)
MINISTACK := .venv-ministack/.locked-$(call key,requirements-ministack.lock)
DYNALITE := tests/engines/node_modules/.locked-$(call key,tests/engines/package-lock.json)
# Twice quiet: warnings about a user's own pip settings are not ours to show; errors are.
PIP_INSTALL := -m pip --disable-pip-version-check -qq install
NEW_ENOUGH := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "This project needs Python \
  3.11 or newer, and $(PYTHON) is not: name one that is, as in: make install PYTHON=python3.12" >&2; exit 1; }
COMPILE := .venv-lock/bin/uv --no-config pip compile --quiet --upgrade --universal --python-version 3.11 \
  --generate-hashes --no-header --no-annotate --no-emit-index-url
# It pins botocore, hence an environment of its own.
MINISTACK_VERSION := 1.5.33
# Of `make soak` and `make test-long`: another seed each time, unless one is named.
ifndef SEED
SEED := $(shell date +%s)
endif
EXAMPLES ?= 500

.DEFAULT_GOAL := help
.PHONY: help install demo lab test test-slow test-long test-all soak soak-follow engines bench bench-growth screenshots lint format notebooks lock \
  clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(PROJECT) ## make .venv from the locked, hashed requirements

demo: install ## four migrations of made-up data: no AWS account, no questions
	@$(BIN)/runbook demo

lab: install ## JupyterLab on the made-up data
	@$(BIN)/runbook lab

test: install ## the default tests
	@$(PYTEST) $(PARALLEL) -m "not slow and not long"

test-slow: install engines ## the slow tests: other engines, processes, faults, browser
	@$(PYTEST) $(PARALLEL) -m "slow and not long"

test-long: install engines ## soak, every call, properties at large: an hour, and another seed each time
	@echo "seed $(SEED), $(EXAMPLES) examples; again: make test-long SEED=$(SEED) EXAMPLES=$(EXAMPLES)"
	@$(PYTEST) $(PARALLEL) -m "long or hypothesis" -rP -o faulthandler_timeout=0 \
	  --hypothesis-profile long --hypothesis-seed $(SEED) --seed $(SEED) --soak $(EXAMPLES)

soak-follow: install ## of the long tests only: an application that writes all day, and the gate of a cut-over, 500 times
	@echo "seed $(SEED), $(EXAMPLES) examples; again: make soak-follow SEED=$(SEED) EXAMPLES=$(EXAMPLES)"
	@$(PYTEST) tests/faults/test_follow_machine.py -m long -rP -o faulthandler_timeout=0 --seed $(SEED) --soak $(EXAMPLES)

test-all: test test-slow ## the default and the slow tests

soak: install ## of the long tests only: anything in any order, 500 times (make soak SEED=7 EXAMPLES=50)
	@echo "seed $(SEED), $(EXAMPLES) examples; again: make soak SEED=$(SEED) EXAMPLES=$(EXAMPLES)"
	@$(PYTEST) tests/faults/test_machine.py -m long -rP -o faulthandler_timeout=0 --seed $(SEED) --soak $(EXAMPLES)

engines: $(MINISTACK) $(DYNALITE) ## install the second and third DynamoDB engine for the slow tests

bench: install ## measure the program beside boto3 and a floor: some minutes (docs/performance.md)
	@$(BIN)/python -m benchmarks

bench-growth: install ## measure 10,000 to 1,000,000 items: time and memory
	@$(BIN)/python -m benchmarks growth

screenshots: install ## take the pictures in docs/images again (needs Chromium)
	@$(BIN)/python docs/screenshots.py

lint: install ## check code, notebooks and their hygiene
	@failed=0; \
	$(BIN)/ruff check --quiet --output-format concise . || failed=1; \
	$(BIN)/ruff format --check --quiet --output-format concise . || failed=1; \
	$(BIN)/python tests/check_notebooks.py || failed=1; \
	exit $$failed

format: install ## format code and notebooks
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

notebooks: install ## after a change of the notebooks: release them (their digests go into the package)
	@$(BIN)/python tests/check_notebooks.py --release

lock: ## renew every lock (needs the package registries)
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python $(PIP_INSTALL) uv
	@$(COMPILE) pyproject.toml --extra test --group build -o requirements.lock
	@echo ministack==$(MINISTACK_VERSION) | $(COMPILE) - -o requirements-ministack.lock
	@rm -f tests/engines/package-lock.json
	@npm install --prefix tests/engines --package-lock-only --omit-lockfile-registry-resolved \
	  --ignore-scripts --no-audit --no-fund --loglevel=error
	@.venv-lock/bin/python tests/engines/strip_lock.py tests/engines/package-lock.json
	@rm -rf .venv-lock

clean: ## remove what was installed and cached; runs in outputs/ stay
	@rm -rf .venv .venv-ministack .venv-lock tests/engines/node_modules .pytest_cache .ruff_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(LOCKED):
	@$(NEW_ENOUGH)
	@echo "Installing the locked requirements into .venv (about a minute)"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP_INSTALL) --require-hashes --no-deps -r requirements.lock
	@touch $@

$(PROJECT): $(LOCKED)
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(MINISTACK):
	@$(NEW_ENOUGH)
	@rm -rf .venv-ministack && $(PYTHON) -m venv .venv-ministack
	@.venv-ministack/bin/python $(PIP_INSTALL) --require-hashes --no-deps -r requirements-ministack.lock
	@touch $@

# --ignore-scripts: its one native package carries a built binary, so nothing has to be compiled or run.
$(DYNALITE):
	@if command -v npm >/dev/null; then \
	  npm ci --prefix tests/engines --ignore-scripts --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is not installed: the tests on the third engine (dynalite) will be skipped"; fi
