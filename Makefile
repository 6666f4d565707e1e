# What contributors, continuous integration and the README share.
# Every recipe sets itself up in .venv first, and again only when pyproject.toml changes.

SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO_FOLDER ?= demo
MINUTES ?= 60
BENCHMARKS ?= train_flickr8k query_cold scale against_ann against_rclip growth

# An interpreter of at least 3.11: PYTHON=/path/to/python chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; \
	done)

# pip's own output, one line a package; errors are left alone on stderr.
SHORT := awk '/^Collecting/ { print "  " $$2; fflush() } \
	/^Installing collected/ { print "  unpacking ..."; fflush() }'

.DEFAULT_GOAL := help
.PHONY: help demo test lint types docs docs-check tests soak bench clean

help:  ## Show what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-train  ## Train, index and search on drawn scenes (about two minutes)
	$(BIN)/mmsearch demo --folder $(DEMO_FOLDER)

test: lint types docs-check tests  ## Run every check: lint, types, docs, tests

lint: $(VENV)/.installed-all  ## Check format, style and the direction of imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports

types: $(VENV)/.installed-all  ## Check types
	$(BIN)/mypy
	$(BIN)/mypy docs/generate.py

docs: $(VENV)/.installed-all  ## Write the generated parts of docs/
	$(BIN)/python docs/generate.py

docs-check: $(VENV)/.installed-all  ## Check that the generated documentation is current
	$(BIN)/python docs/generate.py --check

tests: $(VENV)/.installed-all  ## Run the tests alone
	$(BIN)/pytest

soak: $(VENV)/.installed-all  ## Run the fault matrix for MINUTES (60), on from where it stopped
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

bench: $(VENV)/.installed-all  ## Run the benchmarks on small sizes (see docs/performance.md)
	@for name in $(BENCHMARKS); do \
		echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit; done

clean:  ## Remove what make has made (.venv, caches, the demo)
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf $(DEMO_FOLDER)
	find src tests docs benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "mmsearch needs Python 3.11 or newer, and none was found on PATH;" \
		"install one, or run: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "mmsearch needs Python 3.11 or newer; $(PYTHON) is older or does not run" >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed-train: pyproject.toml | $(VENV)/.created
	@echo "Installing mmsearch and what training needs into $(VENV) (minutes, the first time) ..."
	@set -o pipefail; $(PIP) install --progress-bar off --editable '.[train]' | $(SHORT)
	@touch $@

$(VENV)/.installed-all: pyproject.toml | $(VENV)/.created
	@echo "Installing mmsearch with all extras and the tools into $(VENV) (minutes, the first time) ..."
	@set -o pipefail; $(PIP) install --progress-bar off --editable '.[all]' --group dev | $(SHORT)
	@touch $@ $(VENV)/.installed-train
