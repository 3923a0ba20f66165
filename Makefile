# `make` alone lists the targets. Everything runs from .venv, which `make setup` builds from requirements.lock.

.DEFAULT_GOAL := help
SHELL := /bin/bash

# The first of these that starts, is 3.11 or newer and can make a venv; name another with `make PYTHON=...`.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 /usr/bin/python3.12 /usr/bin/python3.11 /usr/bin/python3; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## make .venv from the lock, hashes checked; does nothing when it is up to date
	@if [ -z "$(PYTHON)" ]; then \
		echo "setup: no Python 3.11 or 3.12 with venv found; install one (Debian: python3 python3-venv)" \
			"or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@"$(PYTHON)" .ci/setup.py

.PHONY: sdks
sdks: setup ## make .venv-sdks (250 MB): the client libraries that tests/sdks makes fail
	@"$(PYTHON)" .ci/sdks.py

.PHONY: lock
lock: ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' --group dev --extra web --extra notify pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' --extra web --extra notify --constraints requirements.lock --no-annotate pyproject.toml \
		--output-file deploy/requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' --group peers --output-file benchmarks/peers.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' --group sdks --output-file tests/sdks/sdks.lock
	@if grep -nE '://|^-|file:| @ ' requirements.lock deploy/requirements.lock benchmarks/peers.lock tests/sdks/sdks.lock; then echo "lock: a place of this machine got into it" >&2; exit 1; fi

.PHONY: demo
demo: setup ## the main job on an embedded Redis, shown live; within 90 s
	@$(BIN)/proofq demo

# Tests wait for half of their time: with no more of them at once than cores, cores stand idle. Far more would make
# deadlines lie.
JOBS ?= $(shell n=$$(nproc); echo $$(( n > 3 ? 8 : 2 * n + 1 )))

# To rewrite the assertions of all tests is ten seconds of CPU for each of the processes that run them: once, then kept.
.PHONY: test
test: export PYTHONDONTWRITEBYTECODE :=
test: setup ## the whole suite, on real Redis servers of its own
	@$(BIN)/pytest -n $(JOBS) --dist loadgroup $(ARGS)

.PHONY: test-llm
test-llm: setup ## a real agent program against everything its provider may do, not the choice of `make test`
	@$(BIN)/pytest --every tests/acceptance/test_llm.py $(ARGS)

.PHONY: lint
lint: setup ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: chaos-kill
chaos-kill: setup ## 300 x kill -9 of every kind of process
	@$(BIN)/python -m tests.acceptance.chaos_kill $(ARGS)

.PHONY: brownout
brownout: setup ## a provider that fails for 20 s, asks to wait, refuses a key: what reaches it, what is lost
	@$(BIN)/python -m tests.acceptance.brownout $(ARGS)
	@$(BIN)/python -m tests.acceptance.brownout --kill
	@$(BIN)/python -m tests.acceptance.retry_after
	@$(BIN)/python -m tests.acceptance.dead_key
	@$(BIN)/python -m tests.acceptance.dead_key --worked

.PHONY: sim
sim: setup ## the simulator: 20,000 seeds of faults between any two store calls
	@$(BIN)/python -m tests.simulation --seeds 20000 $(ARGS)

.PHONY: audit-deps
audit-deps: setup ## known vulnerabilities of the locked packages; fails when the advisories cannot be reached
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock

.PHONY: docs
docs: setup ## draw the generated pages of docs/ anew
	@$(BIN)/python -m proofq.workers.draw docs

.PHONY: peers
peers: setup ## make .venv-peers from its lock: what the bench measures beside us
	@$(BIN)/python .ci/peers.py

.PHONY: bench
bench: peers ## side by side with stock rq, dramatiq, saq, arq and celery: speed, latency, Redis commands, memory, an outage
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-waiting
bench-waiting: setup ## memory of waiting attempts, and the makespan of 400 async ones of a second each
	@$(BIN)/python -m benchmarks.waiting $(ARGS)

.PHONY: bench-reuse
bench-reuse: setup ## a process for each task beside reuse = 100: tasks a second, CPU a task by process
	@$(BIN)/python -m benchmarks.reuse $(ARGS)

.PHONY: surface
surface: setup ## a mechanism switched off must turn its test red
	@$(BIN)/python -m tests.surface $(ARGS)
