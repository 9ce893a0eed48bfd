# Set-up and daily commands. `make run` and `make test` do all that a fresh machine needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help run test check format bench clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/run.stamp: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages (once; some minutes) …"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	@echo "Installing what the tests need …"
	@$(INSTALL) --editable '.[test]'
	@touch $@

run: $(VENV)/run.stamp  ## Serve on 127.0.0.1:8000 with the sample conversations
	@$(BIN)/memory-engine serve --demo

test: $(VENV)/test.stamp  ## Run every test, cut off from the network where that is permitted
	@$(BIN)/python tests/run_isolated.py

check: $(VENV)/test.stamp  ## Format, lint, types, import contracts, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

format: $(VENV)/test.stamp  ## Format the code and mend what the linter can
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

bench: $(VENV)/test.stamp  ## Measure recall on the data sets in ../shared/data
	@$(BIN)/python -m bench.recall

clean:  ## Remove what was installed and built
	@rm -rf $(VENV) build *.egg-info
