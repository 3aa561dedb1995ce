# Two commands are the whole set-up: `make demo` and `make test`.

PYTHON ?= python3
RECIPE ?= digits
HOST ?= 127.0.0.1
PORT ?= 8000

VENV := .venv
BASE := .venv-base
PY := $(VENV)/bin/python
RUN := runs/$(RECIPE)
BUNDLE := bundles/$(RECIPE)
# In a terminal pip shows what it does; elsewhere only what goes wrong.
PIP_INSTALL := -m pip install $(shell test -t 2 || echo --quiet) --disable-pip-version-check --constraint constraints.txt
# As many processes as cores, at most 4: each holds up to 3 GB.
PYTEST := -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test check reproduce clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

setup: $(VENV)/.train ## Create .venv with all that training, exporting, evaluating and serving need

demo: certified ## Train, export, certify and serve at http://127.0.0.1:8000 (RECIPE=digits PORT=8000)
	@echo "== 4/4 serve $(BUNDLE); Ctrl-C ends it"
	@exec $(PY) -m serve $(BUNDLE) --host $(HOST) --port $(PORT) --open

test: check $(BASE)/.installed ## Install what the tests need, a browser included, and run every check
	@sh .ci/browser
	$(PY) $(PYTEST)

check: $(VENV)/.dev ## Lint, formatting, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

reproduce: $(VENV)/.train ## Train, export, certify and serve every recipe, and write docs/reproduction.md
	$(PY) -m train reproduce

clean: ## Remove environments, runs, bundles, results and caches
	rm -rf $(VENV) $(BASE) runs bundles reproduction studies pictures build *.egg-info .mypy_cache .pytest_cache .ruff_cache

# Each step looks at what is there: a stopped run is trained anew, a newer run is exported, a newer bundle is certified.
.PHONY: trained exported certified
trained: $(VENV)/.train
	@echo "== 1/4 train $(RECIPE)"
	@if grep -qs '"finished": true' $(RUN)/run.json; then echo "   $(RUN) is trained already; make clean starts anew"; \
	else $(PY) -m train run $(RECIPE); fi

exported: trained
	@echo "== 2/4 export $(RUN): ONNX and TorchScript, preprocessing inside the graph"
	@if [ $(BUNDLE)/manifest.json -nt $(RUN)/run.json ]; then echo "   $(BUNDLE) is newer than the run"; \
	else $(PY) -m export $(RUN) --out $(BUNDLE); fi

certified: exported
	@echo "== 3/4 certify $(BUNDLE): exported graphs against PyTorch in float64"
	@if [ $(BUNDLE)/certificate.json -nt $(BUNDLE)/manifest.json ] && grep -qs '^  "passed": true' $(BUNDLE)/certificate.json; \
	then echo "   $(BUNDLE) is certified already"; else $(PY) -m evaluate parity $(BUNDLE); fi

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else f"{sys.executable} is Python {sys.version.split()[0]}, but 3.11 to 3.13 is needed; call make with PYTHON=python3.12, say")'
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing into $(VENV): PyTorch and all; 6 GB, a few minutes the first time"
	@start=$$(date +%s); $(PY) $(PIP_INSTALL) --editable '.[train]' >&2 && touch $@ && echo "   installed in $$(( $$(date +%s) - start )) s"

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing into $(VENV), with what the tests need; 6 GB, a few minutes the first time"
	@start=$$(date +%s); $(PY) $(PIP_INSTALL) --editable '.[train,dev]' >&2 && touch $@ $(VENV)/.train && echo "   installed in $$(( $$(date +%s) - start )) s"

# What a machine that only serves has: the tests serve a bundle from it, without torch anywhere.
$(BASE)/.installed: pyproject.toml constraints.txt $(wildcard serve/*.py serve/page/* train/*.py train/*/*.py export/*.py evaluate/*.py)
	@echo "== installing the base package alone into $(BASE)"
	@rm -rf $(BASE) build && $(PYTHON) -m venv $(BASE)
	@start=$$(date +%s); $(BASE)/bin/python $(PIP_INSTALL) . >&2 && touch $@ && echo "   installed in $$(( $$(date +%s) - start )) s"
