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
