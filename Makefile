# make demo    the lab at work: many seeds of part 2A, then a broken Raft caught, named and replayed
# make demo-cluster  the store as a service: five processes whose leader is killed again and again, and the verdict
# make test    everything that must hold: style, types, arrows between packages, all tests
# make help    the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
OTHER_PYTHONS := 3.12 3.13

.PHONY: help demo demo-cluster test lint labs rounds bench gallery stories mutants variants release-check dashboards proto pythons constraints clean

help:
	@grep -E '^# make' Makefile | sed 's/^# //'
	@echo 'make lint    style and types only'
	@echo 'make labs    the graded tests on the reference, 20 seeds of each'
	@echo 'make rounds  the graded tests that crash servers, as processes with disks, 200 times (ROUNDS=n)'
	@echo 'make variants the graded tests on correct Rafts of other designs, 100 seeds of each (VARIANT_RUNS=n)'
	@echo 'make mutants which graded tests catch which planted mistakes: docs/mutants.md'
	@echo 'make release-check  what students get, with the reference put back: all graded tests pass there (RUNS=n)'
	@echo 'make bench   how fast it is, as a table'
	@echo 'make docs    the site, with the handouts to print: docs/_build/html'
	@echo 'make handouts the handouts to print: docs/_build/handouts'
	@echo 'make figures the figures of docs/figures, as their scripts draw them'
	@echo 'make linkcheck every link of the docs, those to other sites too (needs the network)'
	@echo 'make gallery the pages of docs/gallery, from the runs kept there'
	@echo 'make stories the runs that the handouts tell, as they are today'
	@echo 'make dashboards  the dashboards of deploy/monitoring, from dashboards.toml'
	@echo 'make proto   the code that is generated from kvraft/service/kvraft.proto'
	@echo 'make pythons environments for the other supported Pythons that are found here; make test then uses them'
	@echo 'make clean   remove what was installed and generated here'

demo: $(READY)
	$(BIN)/tester demo

demo-cluster: $(READY)
	$(BIN)/kvraft scenario leader-churn --seconds 30 --rate 300

test: lint $(READY)
	$(BIN)/pytest tests -n auto

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

labs: $(READY)
	$(BIN)/pytest tests/labs --runs 20 -n auto

ROUNDS := 200
rounds: $(READY)
	$(BIN)/pytest tests/labs --clock real --servers processes --runs $(ROUNDS) -n 4 -k 'persist or figure8 or churn or crash or recover'

gallery: $(READY)
	$(BIN)/tester gallery

stories: $(READY)
	$(BIN)/python docs/stories.py

# The site, and what it is made of.
.PHONY: docs handouts figures linkcheck
SPHINX := $(BIN)/python -m sphinx -q -n -W --keep-going
docs: handouts
	$(SPHINX) -b html docs docs/_build/html
	@echo 'the site: docs/_build/html/index.html'

handouts: $(READY)
	$(BIN)/python docs/printing.py

figures: $(READY)
	$(BIN)/python docs/figures/make.py

linkcheck: $(READY)
	$(SPHINX) -b linkcheck docs docs/_build/linkcheck

mutants: $(READY)
	$(BIN)/tester mutants --out docs/mutants.md

VARIANT_RUNS := 100
variants: $(READY)
	$(BIN)/python -m tester.variants -m "2A or 2B or 2C or 2D or 4B" --runs $(VARIANT_RUNS) -n auto

RUNS := 1
RELEASED := .raftlab/release-check
release-check: $(READY)
	rm -rf $(RELEASED)
	$(BIN)/tester release $(RELEASED)
	rm -rf $(RELEASED)/raft $(RELEASED)/kvraft && cp -r raft kvraft $(RELEASED)
	cd $(RELEASED) && PYTHONPATH=$(CURDIR)/$(RELEASED) $(CURDIR)/$(BIN)/pytest --runs $(RUNS) -n auto

bench: $(READY)
	$(BIN)/python -m benchmarks

# One environment a Python, as .venv-3.12: the tests compare the runs there with the runs here.
pythons:
	@for version in $(OTHER_PYTHONS); do \
	    python=$$(command -v python$$version || true); \
	    if ! $${python:-false} -c '' 2>/dev/null; then \
	        python=$$(ls -d "$$(pyenv root 2>/dev/null)"/versions/$$version.*/bin/python 2>/dev/null | tail -n 1); fi; \
	    if [ -z "$$python" ]; then echo "python$$version is not installed here"; continue; fi; \
	    echo "setting up .venv-$$version with $$python"; \
	    "$$python" -m venv .venv-$$version && \
	    .venv-$$version/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]' || exit 1; \
	done

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "raftlab needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

dashboards: $(READY)
	$(BIN)/python deploy/monitoring/dashboards.py

# The service's generated code; it is in the repository.
proto: $(READY)
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. kvraft/service/kvraft.proto

constraints:
	rm -rf .venv-fresh && $(PYTHON) -m venv .venv-fresh
	.venv-fresh/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	(head -n 1 constraints.txt; .venv-fresh/bin/python -m pip freeze --exclude-editable --exclude setuptools) > constraints.new
	mv constraints.new constraints.txt && rm -rf .venv-fresh

clean:
	rm -rf .venv .venv-* *.egg-info .raftlab .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
