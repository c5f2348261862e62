# The commands a developer types. CI runs the same lines (.ci/run).
#
#   make test    install what the tests need into .venv, run every test
#   make check   the fast half, before each commit: format, lint, types, architecture, unit tests
#   make docs    regenerate the generated blocks of README.md and docs/
#   make format  let ruff rewrite the sources

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.dev-installed

.PHONY: test check lint docs format install-dev clean

test: $(STAMP)
	$(BIN)/python -m pytest --durations=40

check: lint
	$(BIN)/python -m pytest tests/test_architecture.py tests/unit -m "not slow" -q

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python scripts/update_docs.py
	$(BIN)/python scripts/nano_curve.py

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

install-dev: $(STAMP)

# torchvision (for the reference's image code) goes in without its dependencies: they would replace torch.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	$(BIN)/pip install -q -c constraints.txt --no-deps torchvision
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
