# Lekhika. `make` alone lists what there is.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run demo test check format bench faults lock asyncapi settings clean

help:  ## This list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^## / {printf "\n\033[1m%s\033[0m\n", substr($$0, 4)} \
	  /^[a-z-]+:.*## / {printf "  \033[36mmake %-9s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## Use it
setup: $(READY)  ## Install everything into .venv (the other targets do it too)

run: $(READY)  ## Start the whole of Lekhika here and write a short book
	@exec $(BIN)/lekhika up

demo: $(READY)  ## Show a run, a stop in mid-call and the token count, then end
	@exec $(BIN)/python -m deploy.local.demo

## Work on it
test: $(READY) check  ## Lint, types, import contracts, then every test
	$(BIN)/pytest

check: $(READY)  ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## Measure, beside the bare floor
	$(BIN)/python -m tests.bench

faults: $(READY)  ## The fault suite: kills and lost connections (minutes)
	$(BIN)/pytest tests/faults --timeout 900

asyncapi: $(READY)  ## Write docs/asyncapi.json anew from the code
	$(BIN)/python -m tests.support.asyncapi

settings: $(READY)  ## Write docs/settings.md anew from the code
	$(BIN)/python -m tests.support.settings_table

lock: $(READY)  ## Resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url \
	  --no-header --python-version 3.11 -o requirements.lock

clean:  ## Remove .venv and caches; the data in .lekhika stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
