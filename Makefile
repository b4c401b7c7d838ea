# Two commands to learn: `make demo` and `make test`. Everything else is what they are made of.
PYTHON ?= python3
# The CPU build is enough for everything but training; set TORCH to your CUDA build to use a GPU.
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.PHONY: install demo test test-fast lint bench chaos soak clean

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@

demo: install
	$(BIN)/scancontrol demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-fast: install
	$(BIN)/pytest -m "not slow"

test: lint
	$(BIN)/pytest

bench: install
	$(BIN)/python -m benchmarks

chaos: install
	$(BIN)/python -m benchmarks.chaos --scans 210

soak: install
	$(BIN)/python -m benchmarks.soak --minutes 30

clean:
	rm -rf $(VENV) build dist *.egg-info
