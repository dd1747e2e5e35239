# The two commands of the README, and what developers use. The first call of any of them makes .venv; later calls need no network.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
PEERS_LIST := Testing/benchmarks/peers.txt
OUT ?= output/demo

.PHONY: demo test lint bench cmake-lists icons clean

demo: $(STAMP)
	$(BIN)/digitaltwin demo --out "$(OUT)"
	@echo "Report: $(abspath $(OUT))/report.html"

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The peers' own environment is made where it can be; without it the benchmarks measure ours alone.
bench: $(STAMP)
	@test $(PEERS)/.installed -nt $(PEERS_LIST) || \
		{ $(BIN)/python -m venv $(PEERS) && $(PEERS)/bin/python -m pip install --quiet -r $(PEERS_LIST) && \
		touch $(PEERS)/.installed; } || { rm -rf $(PEERS); echo "Peers are left out: $(PEERS) could not be made."; }
	@for script in Testing/benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

cmake-lists: $(STAMP)
	$(BIN)/python Testing/extension/cmake_lists.py

icons: $(STAMP)
	$(BIN)/python docs/make_icon.py

# Editable, so that the code of this tree is what runs and what is tested.
$(STAMP): pyproject.toml constraints.txt
	@$(or $(PYTHON),python3) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("DigitalTwin needs Python 3.10 to 3.13, and this is %d.%d. Name another one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(or $(PYTHON),python3) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[app,test]'
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
