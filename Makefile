# `make` lists the targets. Everything below works from a fresh clone: each target sets up first.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LAKE := $(or $(FB_LAKE),data)
RAW := $(or $(FB_RAW),data/01_raw)
VIZ_URL := http://127.0.0.1:4141
STAGES_URL := $(VIZ_URL)/?types=nodes
BENCHMARKS := cleaning bucket duplicates startup training encoding search whole_query serving suggest
# Generate the sample if there is no data.
DATA_THERE = case "$(RAW)" in *://*) ;; *) test -e $(RAW)/Assets || $(BIN)/kedro run --pipeline=sample ;; esac
# A short training is enough for the sample: conf/sample.
SHORTER = $$(test -e $(RAW)/ground_truth.json && echo --env=sample)

INSTALL = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --build-constraint requirements.lock

# The excluded packages are in this repository, or are the gigabytes that a CUDA build of torch requires.
LOCK = printf '%s\n' fb-marketplace-serving cuda-bindings cuda-toolkit nvidia-cublas nvidia-cudnn-cu13 \
    nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvshmem-cu13 triton \
  | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
    --no-annotate --no-header --excludes - $(UPGRADE)
# Ray has a lock of its own: in the full environment its processes start several times slower.
EXTRAS := clip dev docs heif lab lance mlflow server tune
EVERYWHERE = python_full_version < '3.14' and (sys_platform == 'darwin' or sys_platform == 'linux')

# Tests run in two processes, one per core; more threads would wait for each other.
IN_HALVES = OMP_NUM_THREADS=1 $(MAKE) --no-print-directory --jobs=2 test-half test-other-half
# A test may take this long; then the stacks of all threads are printed and pytest ends.
TIMEOUT = $(TEST_SECONDS:%=-o faulthandler_timeout=%)
HALF := tests/e2e tests/unit/pipelines/vision tests/unit/pipelines/text $(addprefix tests/unit/,diagnostics hooks lifecycle ml)
SLOW_HALF := $(addprefix tests/e2e/test_,$(addsuffix .py,concurrent_runs durability embedding_reuse full_run killed_stages local_and_s3 \
    odd_markets partial_runs retraining))

export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help setup lock sample run test test-slow test-half test-other-half test-page test-real stress screenshots serve bench recipe lint viz lab notebooks docs wheels clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv with both packages and all tools

# An installed torch, such as a CUDA build, is kept. Packages are compiled once: with PYTHONDONTWRITEBYTECODE every
# process would compile its imports.
$(READY): requirements.lock torch.lock pyproject.toml serving/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(INSTALL) --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement torch.lock
	$(INSTALL) --editable . --editable serving
	touch $@

# `make lock UPGRADE=--upgrade` takes the newest versions, UPGRADE='--upgrade-package numpy' the newest numpy.
lock: $(READY)  ## write the lock files again, after a change of dependencies
	$(LOCK) $(EXTRAS:%=--extra %) --constraints torch.lock --no-emit-package torch --no-emit-package torchvision \
	  pyproject.toml serving/pyproject.toml --output-file requirements.lock
	$(subst --universal,--python-platform=x86_64-manylinux_2_28,$(LOCK)) --group ray-worker --constraints requirements.lock --output-file ray.lock
	$(LOCK) --extra server --constraints requirements.lock serving/pyproject.toml --output-file serving/requirements.lock
	for file in requirements.lock ray.lock serving/requirements.lock; do \
	  sed "s/ ; $(EVERYWHERE)//" $$file > $$file.new && mv $$file.new $$file; done

sample: $(READY)  ## generate sample data in an empty raw root
	$(BIN)/kedro run --pipeline=sample

run: $(READY)  ## run the full pipeline (on sample data if there is none) and print example queries
	@$(DATA_THERE)
	$(BIN)/kedro run $(SHORTER)
	@$(BIN)/fb-marketplace summary

test: $(READY)  ## run the tests (ten minutes on two cores)
	$(IN_HALVES) TEST_SECONDS=600

test-slow: $(READY)  ## run the slow tests (tens of seconds each)
	$(IN_HALVES) TEST_SECONDS=1800 MARKED="-m slow" HALF="$(SLOW_HALF)"

test-half: $(READY)
	$(BIN)/pytest --durations=12 $(TIMEOUT) $(MARKED) $(HALF)

test-other-half: $(READY)
	$(BIN)/pytest --durations=12 $(TIMEOUT) $(MARKED) $(addprefix --ignore=,$(HALF))

test-page: $(READY)  ## test the page in headless Chromium (apt-get install chromium)
	$(BIN)/pytest -m external -o faulthandler_timeout=300 tests/page

test-real: $(READY)  ## test on a folder of real listings: make test-real REAL=<folder>
	REAL=$(REAL) $(BIN)/pytest -m external -s tests/e2e/test_real_listings.py

# A part of them: make stress TESTS=tests/e2e/test_chaos.py KILLS=30 SEED=1
stress: $(READY)  ## kill runs, corrupt buckets and break the store (hours; TESTS=<some> KILLS=30 SEED=1)
	OMP_NUM_THREADS=1 KILLS=$(or $(KILLS),30) SEED=$(or $(SEED),1) $(BIN)/pytest -m stress -s $(TESTS)

serve: $(READY)  ## serve the current release at http://127.0.0.1:8000
	$(BIN)/fb-serve run --lake $(LAKE) --host 127.0.0.1 --port 8000

screenshots: $(READY)  ## take the pictures in docs/page, on the sample's release
	PYTHONPATH=tests $(BIN)/python -m page.screenshots --lake $(LAKE) --raw $(RAW)

bench: $(READY)  ## run the benchmarks against plain implementations
	@$(DATA_THERE)
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

recipe: $(READY)  ## fine-tune with three seeds on FB_LAKE and print the metrics (an hour)
	$(BIN)/python benchmarks/long/recipe.py

lint: $(READY)  ## check style, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Kedro-Viz opens on all datasets between the stages; `types=nodes` opens it on the stages, which can be expanded.
viz: $(READY)  ## show the stages at http://127.0.0.1:4141/?types=nodes
	@(until curl --silent --fail --output /dev/null $(VIZ_URL)/api/version; do sleep 1; done; \
	  echo "The stages: $(STAGES_URL)"; $(BIN)/python -m webbrowser -t "$(STAGES_URL)" > /dev/null) & \
	$(BIN)/kedro viz run --no-browser

# Otherwise Kedro logs each loaded dataset into the outputs.
lab: $(READY)  ## open the notebooks
	KEDRO_LOGGING_CONFIG=$(CURDIR)/conf/logging.yml $(BIN)/kedro jupyter lab notebooks

notebooks: $(READY)  ## execute the notebooks on the sample's release, and store their outputs
	PYTHONPATH=tests $(BIN)/python -m support.notebooks --lake $(LAKE) --raw $(RAW)

docs: $(READY)  ## build the documentation as a site into build/site
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --quiet

# Like `kedro package`, which would download setuptools for each wheel.
wheels: $(READY)  ## build both wheels and the packaged configuration into dist/
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .
	$(BIN)/python -m build --no-isolation --wheel --outdir dist serving
	tar --exclude='conf/local/*' -czf dist/conf-fb_marketplace.tar.gz conf

clean:  ## remove build outputs, but no data
	rm -rf $(VENV) dist build serving/build .mypy_cache .ruff_cache .pytest_cache .hypothesis .viz
