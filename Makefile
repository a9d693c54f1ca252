PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint clean

demo: .venv/installed
	@$(BIN)/python tools/demo.py render demo
	@$(BIN)/seqhdr run 'demo/shot_%04d.png' -o demo/out --overwrite
	@$(BIN)/python tools/demo.py picture demo

test: lint
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
