# Few, obvious targets. A fresh Debian 12 with make is enough: `make demo`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
IMAGE ?= tiny
HOSTS ?= 1
NAME ?= dpl
PYTEST := $(BIN)/python -m pytest
TIERS := unit property contract real faults
# Tiers whose tests share nothing with each other run on both cores of a small machine; the others time what they kill.
SPREAD_unit := -n 2
SPREAD_property := -n 2
SPREAD_contract := -n 2

# The OPI project's own client; its packages clash with this project's in one environment.
PYDPU := .cache/pydpu

.PHONY: interop multus demo test lint bench packages deps venv lab-up lab-down clean $(TIERS:%=test-%)

demo: deps venv  ## the story, live: a machine boots from the disk that its DPU gives it
	$(BIN)/python -m lab.demo --image $(IMAGE)

test: deps lint $(TIERS:%=test-%)  ## everything; each tier also runs alone

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

$(TIERS:%=test-%): test-%: deps venv
	$(PYTEST) tests/$* $(SPREAD_$*)

test-contract: interop
test-contract: export PYDPU_PYTHON = $(CURDIR)/$(PYDPU)/bin/python

test-real: multus

multus: venv  ## Multus from the Go module proxy, for test-real
	@$(BIN)/python -m lab.multus

interop: venv  ## an environment with an independent OPI client, for test-contract
	@test -x $(PYDPU)/bin/python || $(PYTHON) -m venv $(PYDPU)
	@$(PYDPU)/bin/python -c 'import pydpu' 2> /dev/null || $(PYDPU)/bin/pip install --quiet 'pydpu==0.2.1'

bench: deps venv  ## prints figures, asserts nothing about time
	$(PYTEST) tests/bench -s -p no:randomly

lab-up: deps venv
	$(BIN)/bmctl lab up --name $(NAME) --hosts $(HOSTS) --image $(IMAGE)

lab-down: venv
	$(BIN)/bmctl lab down --name $(NAME)

packages: venv  ## the wheel and the CNI executable, in dist/
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python packaging/cni/bundle.py

deps:  ## Debian packages, and a QEMU that is new enough; needs root, once
	@command -v $(PYTHON) > /dev/null || { apt-get -q -y update && apt-get -q -y install --no-install-recommends python3; }
	@$(PYTHON) -m lab.packages $(if $(filter debian,$(IMAGE)),--debian-image)

venv: $(STAMP)

# Building the package also generates the protobuf modules, beside their sources.
$(STAMP): pyproject.toml setup.py $(shell find proto -name '*.proto')
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || $(MAKE) --no-print-directory deps
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
