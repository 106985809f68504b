# Every target sets up .venv by itself when needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test coverage mutants lint format docs clean help

help:
	@echo "make demo   train on digits, sample a balanced set, evaluate it (6 minutes on 2 CPU cores)"
	@echo "make test   run all tests"
	@echo "make coverage  the same, and which lines they run; fails below 90%"
	@echo "make mutants   whether the tests notice small faults in methods and metrics"
	@echo "make lint   ruff and mypy"
	@echo "make docs   the documentation site, into site/"

$(STAMP): setup.py constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	rm -rf runs/demo
	$(BIN)/python -m gan_lt.demo runs/demo

# one worker a core, each with one thread: many tests are too small for more
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# what CI runs; subprocesses are measured as well
coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term --cov-fail-under=90

mutants: $(STAMP)
	rm -rf mutants
	$(BIN)/python -m benchmarks.mutation_testing

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# NO_MKDOCS_2_WARNING: the theme's advertisement of its successor
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "open site/index.html"

clean:
	rm -rf $(VENV) build dist site mutants *.egg-info
