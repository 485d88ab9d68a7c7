# The only task definitions; CI calls them too. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Everything runs with the virtual environment's programs first.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
# What is imported by hundreds of processes is compiled once, whatever the caller's shell says.
unexport PYTHONDONTWRITEBYTECODE

C_SOURCES := $(shell find firmware tinyfed/engine \( -name '*.[ch]' -o -name '*.inc' -o -name tinyfed_build.py \) -not -path '*/.pio/*' 2>/dev/null)

.PHONY: help setup build demo test check fuzz fuzz-models mutants soak clean bench bench-peers reproduce size
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.built ## install what is missing (apt packages, .venv) and build the engine

$(VENV)/.python: constraints.txt pyproject.toml scripts/setup-python
	@PYTHON="$(PYTHON)" scripts/setup-python $(VENV)
	@touch $@

$(VENV)/.tools: scripts/setup-tools $(VENV)/.python
	@scripts/setup-tools $(VENV)
	@touch $@

$(VENV)/.built: $(VENV)/.tools CMakeLists.txt $(C_SOURCES)
	@echo "setup: building the engine"
	@$(RUN) uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@$(RUN) python -m tinyfed_host.firmware.build # so that PlatformIO needs no registry
	@touch $@

.cache/wheel-env/.ready: $(VENV)/.python scripts/setup-wheel-test
	@$(RUN) scripts/setup-wheel-test .cache/wheel-env
	@touch $@

build: $(VENV)/.built ## build the Python extensions

demo: setup ## personal gestures: the fleet learns, a stranger's device adapts (writes runs/demo)
	@$(RUN) tinyfed demo

test: setup .cache/wheel-env/.ready ## everything that needs no hardware
	@$(RUN) scripts/test

check: setup ## lint, types and unit tests, under a minute
	@$(RUN) scripts/check

soak: setup ## long runs: 64 boards for 30 minutes, a spoilt line for 2,000 rounds, 100 power losses and resets, 2,000 runs with a man in the middle, all of it on Debian 13 (root)
	@$(RUN) python tests/emulated/soak.py power --strikes 100
	@$(RUN) python tests/emulated/soak.py power --strikes 100 --how reset
	@$(RUN) python tests/emulated/soak.py power --strikes 100 --how reset --board netduinoplus2
	@$(RUN) python tests/emulated/soak.py line --rounds 2000
	@$(RUN) env PYTHONPATH=tests python tests/emulated/soak.py middle --runs 2000 --minutes 180
	@$(RUN) env PYTHONPATH=tests python tests/unit/wire_search.py --moves 3
	@$(RUN) env PYTHONPATH=tests python tests/unit/wire_search.py --moves 2 --visits 2
	@$(RUN) python tests/emulated/soak.py fleet --boards 64 --minutes 30
	scripts/debian13 .cache/debian13

clean: ## remove what was built, keep .venv
	rm -rf build .pio firmware/.pio

fuzz: setup ## fuzz the model image loader and the wire for a minute each (FUZZ_SECONDS=600 for longer)
	@$(RUN) scripts/fuzz-image $(or $(FUZZ_SECONDS),60)
	@$(RUN) scripts/fuzz-wire $(or $(FUZZ_SECONDS),60)

fuzz-models: setup ## 10,000 mutations of each .tflite, .keras and .h5 model through all that reads them (an hour)
	@$(RUN) nice -n 10 python scripts/fuzz-models $(or $(FUZZ_ROUNDS),10000)

mutants: setup ## break the code in small ways and report what no test notices (docs/tests.md; MUTANTS="--only c")
	@$(RUN) nice -n 10 python -m tests.mutants $(MUTANTS)

bench: setup ## measure the benchmark nets and write docs/benchmarks.md
	@$(RUN) python -m studies.bench

.cache/peers-env/.ready: $(VENV)/.python scripts/setup-peers
	@$(RUN) scripts/setup-peers .cache/peers-env
	@touch $@

bench-peers: setup .cache/peers-env/.ready ## visits a second beside JAX, PyTorch and Keras (installs them apart)
	@$(RUN) PEERS_PYTHON=$(CURDIR)/.cache/peers-env/bin/python python -m studies.peers

reproduce: setup ## the papers' comparison on all tasks whose data is here, boards included (writes docs/reproduction.md)
	@$(RUN) tinyfed reproduce --output docs/reproduction.md

size: setup ## flash, RAM and worst-case stack of every bare board; fails past a budget
	@$(RUN) scripts/size
