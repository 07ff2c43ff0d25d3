# Each target sets up what it needs. PYTHON: the interpreter that the virtual environment is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EVENTS ?= embedded

MINUTES ?= 30
SEED ?= 1

.PHONY: venv demo test check screenshots bench bench-dashboard bench-week bench-slo torture door clean

venv: $(VENV)/.done

$(VENV)/.done: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Understudy needs Python 3.11 or later: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[postgresql,test,check]'
	touch $@

demo: venv
	@$(BIN)/understudy demo --events $(EVENTS)

test: venv
	$(BIN)/pytest

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

screenshots: venv
	$(BIN)/python -m tests.dashboard.screenshots data/screenshots

bench-dashboard: venv
	$(BIN)/python -m tests.bench.dashboard --store embedded
	$(BIN)/python -m tests.bench.dashboard --store elasticsearch

bench: venv
	$(BIN)/python -m tests.bench.throughput

bench-week: venv
	$(BIN)/python -m tests.bench.week --readme README.md

# README's table: evaluating a month at 50 requests a second.
bench-slo: venv
	$(BIN)/python -m tests.bench.slo --store embedded
	$(BIN)/python -m tests.bench.slo --store elasticsearch

torture: venv
	$(BIN)/python -m tests.consistency.torture --minutes $(MINUTES) --seed $(SEED)

# README's table: what users get while HOSP, the sidecar and both are killed.
door: venv
	$(BIN)/python -m tests.compose.front

clean:
	rm -rf $(VENV) data build *.egg-info
