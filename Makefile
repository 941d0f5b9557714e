# Two commands to start with: `make demo` and `make test`. Each sets up all it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_CACHE := build/demo-cache
HUNT ?= 1
DEMO := PCACHE_DIR=$(DEMO_CACHE) $(BIN)/python examples/stdlib_survey.py
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test test-all lint house types bench eviction compression scale soak damage versus hunt zoo realcode mutants clean help

help:
	@echo "make demo      a slow analysis of Python's standard library, twice: the second time from the cache"
	@echo "make test      the tests"
	@echo "make lint      ruff, formatting included"
	@echo "make house     which package imports which, held to the rule in docs/design.md"
	@echo "make types     mypy and pyright, strict"
	@echo "make test-all  the tests under every CPython >= 3.11 on this machine"
	@echo "make bench     the benchmarks beside bare files and peers; writes benchmarks/results.md and .svg; four minutes"
	@echo "make eviction  eviction policies on recorded and generated traces; writes docs/eviction.md; five minutes"
	@echo "make compression  rules for compressing on the same traces; writes docs/compression.md; five minutes"
	@echo "make scale     a million entries, and peers at 100,000; writes benchmarks/scale.md; ten minutes"
	@echo "make soak      four processes write 20 GB through a cache of 1 GiB; writes benchmarks/soak.md"
	@echo "make damage    the same damage to what pcache and peers stored; writes benchmarks/damage.md; five minutes"
	@echo "make versus    this checkout against another in turns: make versus OLD=../before"
	@echo "make hunt      the long search for faults: kills, power cuts, full disks, damage, attacks, load; writes docs/reliability.md"
	@echo "make zoo       objects of forty packages as arguments, globals and results; installs those packages"
	@echo "make realcode  ids of the functions of seventy packages in three processes; writes into docs/keys.md; half an hour"
	@echo "make mutants   single edits of the source, which tests must notice; writes benchmarks/mutants.md; an hour"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pcache needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# One stamp per set of packages: what a target needs is installed when its list changes.
$(VENV)/%.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

demo: $(VENV)/demo.stamp
	@mkdir -p build
	@$(BIN)/pcache -C $(DEMO_CACHE) clear --yes
	@printf '\n== first run: everything is computed ==\n\n'
	@$(DEMO)
	@printf '\n== second run: nothing is ==\n\n'
	@$(DEMO)
	@printf '\n== pcache stats ==\n\n'
	@$(BIN)/pcache -C $(DEMO_CACHE) stats

test: $(VENV)/test.stamp
	$(PYTEST) -n 2

test-all:
	@PYTHON="$(PYTHON)" .ci/test-all

lint: $(VENV)/lint.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

house:
	@$(PYTHON) tests/support/house.py

# The stubs of the tests' packages are needed to check tests/typing.
types: $(VENV)/lint.stamp $(VENV)/test.stamp
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

bench: $(VENV)/test.stamp $(VENV)/peers.stamp
	$(BIN)/python benchmarks/run.py

eviction: $(VENV)/plots.stamp
	$(BIN)/python benchmarks/eviction.py

compression: $(VENV)/plots.stamp
	$(BIN)/python benchmarks/compression_rules.py

scale: $(VENV)/test.stamp $(VENV)/peers.stamp
	$(BIN)/python benchmarks/scale.py --write

soak: $(VENV)/test.stamp
	$(BIN)/python benchmarks/soak.py --write

damage: $(VENV)/test.stamp $(VENV)/peers.stamp
	$(BIN)/python benchmarks/damage.py --write

versus: $(VENV)/test.stamp
	$(BIN)/python benchmarks/versus.py $(OLD) --write

hunt: $(VENV)/test.stamp
	@mkdir -p build && rm -f build/hunt.jsonl
	PCACHE_HUNT=$(HUNT) PCACHE_HUNT_NOTES=$(CURDIR)/build/hunt.jsonl $(PYTEST) -p no:randomly --timeout 7200 tests/faults
	$(BIN)/python -m tests.faults.table build/hunt.jsonl

zoo: $(VENV)/test.stamp $(VENV)/zoo.stamp
	$(PYTEST) -n 2 tests/zoo tests/integrations

# Other packages: make realcode PACKAGES="rich networkx==3.6.1", which writes nothing.
realcode: $(VENV)/test.stamp
	$(BIN)/python benchmarks/real_code.py $(or $(PACKAGES),--write)

# Fails when an edit is not noticed and not listed in tests/faults/mutants_left.txt. One module: MODULES=entry.format
mutants: $(VENV)/test.stamp
	$(BIN)/python benchmarks/mutants.py --write $(addprefix --module ,$(MODULES))

clean:
	rm -rf $(VENV) .venvs build .mypy_cache .ruff_cache .pytest_cache .hypothesis
