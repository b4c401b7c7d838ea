# Two commands to learn: `make demo` and `make test`. Everything else is what they are made of.
PYTHON ?= python3
# The processor's build is enough for everything but training. A machine without an NVIDIA driver tries it first.
TORCH  ?= torch==2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.PHONY: install demo docs test test-fast lint bench poster chaos soak lock audit clean

install: $(STAMP)

$(STAMP): pyproject.toml
	@echo "Installing into $(VENV): 0.4 GB to download and 1.3 GB on the disk, 2 to 10 minutes; with CUDA 3 GB and 7 GB."
	$(PYTHON) -m venv $(VENV)
	@command -v nvidia-smi >/dev/null || \
		$(BIN)/pip install --retries 0 --timeout 10 --index-url $(TORCH_CPU_INDEX) "$(TORCH)" || \
		echo "torch's builds for processors cannot be reached; taking the usual one"
	$(BIN)/pip install "$(TORCH)"
	$(BIN)/pip install --editable ".[dev]"
	@touch $@

demo: install
	$(BIN)/scancontrol demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two processes, one thread of computing each: as many as the smallest machine that this is meant for has cores.
# They take the files as tests/conftest.py orders them, the longest first. Byte code is kept, as they start many processes.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-fast: install
	$(PYTEST) -m "not slow"

test: lint
	$(PYTEST)

bench: install
	$(BIN)/python -m benchmarks

# The poster's experiments on IMAGES (a manifest or folder; simulated specimens if none), into runs/poster; goes on where it was.
poster: install
	$(BIN)/python -m restore.experiments $(if $(IMAGES),--images $(IMAGES)) --out runs/poster --jobs $(or $(JOBS),1)

# The documents and the reference of the API as a site: build/docs/index.html
docs: install
	$(BIN)/pip install --quiet --editable ".[docs]"
	$(BIN)/python -m sphinx --quiet -W --keep-going docs build/docs

chaos: install
	$(BIN)/python -m benchmarks.chaos --scans 210 --orders 3 --lies

soak: install
	$(BIN)/python -m benchmarks.soak --minutes 30

# What a release installs, with hashes; and whether anything of it is known to be weak (asks pypi.org).
lock:
	$(PYTHON) -m venv $(VENV)-tools && $(VENV)-tools/bin/pip install --quiet uv
	head -2 requirements.lock > requirements.lock.new
	$(VENV)-tools/bin/uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-header --quiet >> requirements.lock.new
	mv requirements.lock.new requirements.lock
	$(BIN)/python docs/generate_cpu_lock.py

audit:
	$(PYTHON) -m venv $(VENV)-tools && $(VENV)-tools/bin/pip install --quiet pip-audit
	$(VENV)-tools/bin/pip-audit --require-hashes --disable-pip -r requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info
