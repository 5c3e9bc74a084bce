# Two commands on a fresh machine: `make run` and `make test`. Both make .venv and install into it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs

.PHONY: run board test benchmark benchmark-peer lint clean

run: $(VENV)/.installed
	$(BIN)/mergebench run --methods all --suite tiny-8 --out $(OUT)
	@echo "to go on: source $(BIN)/activate, then mergebench alone says what there is"

# The main board: both tracks, and three seeds of whatever draws images. The searches take hours; each goes on where it was.
board: $(VENV)/.installed
	$(BIN)/mergebench tune all --suite tiny-8 --trials 30 --studies 3 --out $(OUT)
	$(BIN)/mergebench run --methods data-free --suite tiny-8 --out $(OUT) \
		--settings published $(OUT)/settings/tiny-8-tiny.yaml
	$(BIN)/mergebench run --methods calibration test-time --seeds 0 1 2 --suite tiny-8 --out $(OUT) \
		--settings published $(OUT)/settings/tiny-8-tiny.yaml

# Files of tests are dealt out among processes of one thread each: two threads of one process help small matrices little.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile
	$(BIN)/ruff check .

benchmark: $(VENV)/.installed
	$(BIN)/python benchmarks/run_cost.py

# The same merges by FusionBench, which is installed beside this project's environment, in the cache folder.
benchmark-peer: $(VENV)/.installed
	$(BIN)/python benchmarks/peer/compare.py --json docs/benchmark-peer.json

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

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
