# Two commands on a fresh machine: `make run` and `make test`. Both make .venv and install into it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs
WORKERS ?= 2
STUDIES ?= 1

.PHONY: run board tune test check lint types docs release benchmark benchmark-peer clean

# On two processes, which share the machine's threads: a quarter less time, and the seconds of a merge are of one thread
# on two cores. Those of docs/board.md are of one process.
run: $(VENV)/.installed
	$(BIN)/mergebench run --methods all --suite tiny-8 --workers $(WORKERS) --out $(OUT)
	@echo "to go on: source $(BIN)/activate, then mergebench alone says what there is"

# The main board: both tracks, and three seeds of whatever draws images.
board: $(VENV)/.installed
	$(BIN)/mergebench run --methods references data-free --suite tiny-8 --out $(OUT) --settings published tuned
	$(BIN)/mergebench run --methods calibration test-time --seeds 0 1 2 --suite tiny-8 --out $(OUT) \
		--settings published tuned

# The searches of its tuned track: about five hours of one core for each study, which go on where they were.
tune: $(VENV)/.installed
	$(BIN)/mergebench tune all --suite tiny-8 --trials 30 --studies $(STUDIES) --out $(OUT) \
		--write configs/settings/tiny-8-tiny.yaml

# Files of tests are dealt out among processes of one thread each: two threads of one process help small matrices little.
# `make check` alone leaves out the long ones, and counts the lines and branches that the others go through, which takes a
# quarter longer (build/coverage/html); `make check test` counts in all of them.
LONG = $(if $(filter test,$(MAKECMDGOALS)),,-m "not long")
COVERAGE = $(if $(filter check,$(MAKECMDGOALS)),--cov --cov-report=html:build/coverage/html)
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile $(LONG) $(COVERAGE)

# What a change is held to: `make check` while it is worked on, `make check test` before it is handed on.
check: lint types test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Packages are read as an installation lays them out, which this folder does not.
types: $(VENV)/.installed-dev
	$(BIN)/python tests/instruments/lay_out.py build/laid-out
	cd build/laid-out && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml -p mergebench

docs: $(VENV)/.installed-dev
	$(BIN)/python -m mkdocs build --strict
	@echo "build/docs/index.html; with its search: $(BIN)/python -m http.server -d build/docs"

# Wheel and sdist, each tried in an environment of its own.
release: $(VENV)/.installed-dev
	rm -rf build/release
	$(BIN)/python -m build --outdir build/release .
	for file in build/release/*; do PYTHON=$(PYTHON) .ci/try_install $$file || exit 1; done

benchmark: $(VENV)/.installed
	$(BIN)/python benchmarks/run_cost.py

# The same merges by FusionBench, which is installed beside this project's environment, in the cache folder.
benchmark-peer: $(VENV)/.installed
	$(BIN)/python benchmarks/peer/compare.py --json docs/benchmark-peer.json

# torch and torchvision are resolved by one pip call: built apart they do not import together.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
