# Each target sets up what it needs. PYTHON: the interpreter that the virtual environment is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EVENTS ?= embedded

MINUTES ?= 30
HOURS ?= 0
SEED ?= 1

.NOTPARALLEL:
.PHONY: venv demo unit processes test check audit screenshots bench bench-hung bench-dashboard bench-scale bench-slo bench-verify bench-week torture \
	bench-drain endurance partitions rolling secrets door outage breakage truth clean

venv: $(VENV)/.done

$(VENV)/.done: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Understudy needs Python 3.11 or later: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[postgresql,test,check]'
	touch $@

demo: venv
	@$(BIN)/understudy demo --events $(EVENTS)

# What tests write goes to memory where there is room for it: nothing that they try needs a disk to be slow.
SCRATCH := $(shell test $$(df --output=avail -k /dev/shm 2>/dev/null | tail -1) -ge 4000000 2>/dev/null && echo /dev/shm || echo /tmp)
# Two cores wait for timeouts and for servers to start; another test uses them meanwhile.
# Each process imports some 800 files of ours: compiled once, also where the environment says that nothing be kept.
PYTEST := TMPDIR=$(SCRATCH) PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses

# Whatever starts no process: two minutes of CPU time. Who is done takes of another's.
unit: venv
	$(PYTEST) 3 --dist worksteal -p no:schemathesis tests/unit $(wildcard tests/test_*.py)

# The rest: real servers. Each file's tests share one process, and the folders that take longest come first.
LONGEST := tests/stack/ tests/consistency/ tests/truth/ tests/wire/
processes: venv
	$(PYTEST) 2 --dist loadfile --no-loadscope-reorder $(LONGEST) $(filter-out tests/unit/ $(LONGEST),$(wildcard tests/*/))

test: unit processes

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive -ll -ii sidecar alerts dashboard compose
	$(MAKE) test

# Known vulnerabilities of what is installed; exits 2 where nobody could be asked.
audit: venv
	$(BIN)/python -m tests.audit

screenshots: venv
	$(BIN)/python -m tests.support.dashboard.screenshots data/screenshots

bench-dashboard: venv
	$(BIN)/python -m tests.bench.dashboard --store embedded
	$(BIN)/python -m tests.bench.dashboard --store elasticsearch

bench: venv
	$(BIN)/python -m tests.bench.throughput --readme README.md

bench-hung: venv
	$(BIN)/python -m tests.bench.hung --readme README.md

# The capacity section of compose/README.md, and its plots; what 200 sidecars on one PostgreSQL cost by being there.
bench-scale: venv
	$(BIN)/python -m tests.bench.scale --readme compose/README.md
	$(BIN)/python -m tests.bench.coordination

bench-verify: venv
	$(BIN)/python -m tests.bench.verify

bench-week: venv
	$(BIN)/python -m tests.bench.week --readme README.md

# README's table: evaluating a month at 50 requests a second.
bench-slo: venv
	$(BIN)/python -m tests.bench.slo --store embedded
	$(BIN)/python -m tests.bench.slo --store elasticsearch

torture: venv
	$(BIN)/python -m tests.consistency.torture --minutes $(MINUTES) --seed $(SEED) $(if $(RAILS),--rails)

# Two sidecars, HAProxy, HOSP and PostgreSQL on hosts of their own (namespaces; root), their ways cut in turn.
partitions: venv
	$(BIN)/python -m tests.consistency.partitions

# The same for long: blows drawn at random, and what users got beside what HOSP itself gave.
endurance: venv
	$(BIN)/python -m tests.consistency.endurance --minutes $(MINUTES) --seed $(SEED) --sidecars 4

# How fast the outbox drains, beside how fast HOSP takes the same writes from users.
bench-drain: venv
	$(BIN)/python -m tests.bench.drain

# 10,000 requests over 20 restarts: two sidecars behind HAProxy, and one by its own reload.
rolling: venv
	$(BIN)/python -m tests.stack.rolling

# What compose/docker-compose.yml reads as secrets; those that are there stay.
secrets: venv
	$(BIN)/python -m compose.make_secrets compose/secrets

# README's table: what users get while HOSP, the sidecar and both are killed.
door: venv
	$(BIN)/python -m tests.stack.front

# Alerts seen from outside while HOSP goes down and comes back: within two minutes, over within five.
outage: venv
	$(BIN)/python -m tests.stack.outage

# docs/ALERTS.md's tables: what on-call is told while the parts of alerting break, one after another.
breakage: venv
	$(BIN)/python -m tests.alerts.breakage --docs docs/ALERTS.md

# The matrix of tests/truth: an API with each twist, through learning, an outage, writes and its return. Whole once, or for HOURS.
truth: venv
	$(BIN)/python -m tests.truth --hours $(HOURS)

clean:
	rm -rf $(VENV) data build *.egg-info
