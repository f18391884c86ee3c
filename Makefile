# The two commands of a new checkout: `make demo` and `make test`.  Both make .venv themselves.
# For work on nbpar: `make dev`, then `make fast`.  Other environments are described in noxfile.py.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOX := $(BIN)/nox --session
PROCESSES ?= 2
# Where other Pythons are, and what is tested with them.
PYENV_ROOT ?= $(HOME)/.pyenv
empty :=
PYENV := $(subst $(empty) $(empty),:,$(wildcard $(PYENV_ROOT)/versions/3.10.*/bin $(PYENV_ROOT)/versions/3.13.*/bin))
ON_PYTHONS ?= tests/channels tests/cluster tests/contract tests/core tests/dispatch tests/host tests/notebook \
    tests/pipeline tests/pool tests/run tests/wire tests/worker
TOGETHER := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile
KERNELS ?= all
MINUTES ?= 30
ROOT ?=
TESTS ?= tests/core tests/wire
COVERAGE := $(BIN)/python -m coverage

.PHONY: demo dev fast test check format coverage test-browser test-kernels test-floors test-colab \
    test-originals test-devices test-notebooks test-package test-hosts test-nightly test-pythons notebooks \
    docs bench soak soak-hosts clean

demo: $(VENV)/installed
	$(BIN)/nbpar demo

# What one works with: nbpar itself, tests, linters, nox, pre-commit.
dev: $(VENV)/installed-for-dev

# Before each commit: linters, types, and the tests that need no engine.
fast: $(VENV)/installed-for-dev check
	$(BIN)/codespell
	$(TOGETHER) -q -m "not engines" tests

test: $(VENV)/installed-for-tests check
	$(TOGETHER) tests
	$(TOGETHER) @notebooks/strict.txt  # the notebooks; every output is compared

check: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Lines and branches of the two packages that unit tests cover whole: it fails below 100 %.  What engines run
# counts too: `make coverage TESTS=tests` for all tests.  All of nbpar is in htmlcov/.
coverage: $(VENV)/installed-for-dev
	$(COVERAGE) erase
	$(COVERAGE) run -m pytest -q $(TESTS)
	$(COVERAGE) combine --quiet
	$(COVERAGE) html --quiet
	$(COVERAGE) report --include "nbpar/core/*,nbpar/wire/*" --fail-under 100

# Each of these has environments of its own, and takes minutes.
test-browser: $(VENV)/nox-installed
	$(NOX) browser

test-kernels: $(VENV)/nox-installed  # KERNELS="6.29.5 7.4.0" for some of them
	$(NOX) $(if $(filter all,$(KERNELS)),kernels,$(foreach version,$(KERNELS),"kernels($(version))"))

test-floors: $(VENV)/nox-installed
	$(NOX) floors

test-colab: $(VENV)/nox-installed
	$(NOX) colab

test-originals: $(VENV)/nox-installed
	$(NOX) originals

test-devices: $(VENV)/nox-installed
	$(NOX) devices

test-notebooks: $(VENV)/nox-installed
	$(NOX) notebooks

# Builds a release into dist/, and uses it as somebody who has nothing else.
test-package: $(VENV)/nox-installed
	$(NOX) package

# What the others leave out: tests with the marker, and all that could depend on other versions of packages.
test-nightly: $(VENV)/installed-for-tests $(VENV)/nox-installed
	$(TOGETHER) -m nightly tests
	$(NOX) browser -- -m nightly tests/browser
	$(NOX) nightly

# The oldest Python and one of pyenv, where they are; the newest two of Debian's unstable suite, as root.
# Without root: `make test-pythons ROOT=sudo`.
test-pythons: $(VENV)/nox-installed
	PATH="$(PYENV):$$PATH" $(NOX) pythons -- $(ON_PYTHONS)
	$(ROOT) .ci/pythons $(ON_PYTHONS)

# Engines on other hosts, which are network namespaces of this one, and in jobs of a Slurm: Linux, root,
# OpenSSH's server, iproute2, slurm-wlm, munge, openmpi-bin.
# Without root: `make test-hosts ROOT=sudo`.
test-hosts: $(VENV)/installed-for-tests
	$(ROOT) $(BIN)/python -m pytest -p no:cacheprovider tests/hosts

notebooks: $(VENV)/nox-installed
	$(NOX) execute-notebooks

docs: $(VENV)/nox-installed
	$(NOX) docs

bench: $(VENV)/nox-installed
	$(NOX) bench

soak: $(VENV)/nox-installed
	$(NOX) soak -- --minutes $(MINUTES)

# The same on hosts and in jobs; it needs what `make test-hosts` needs.
soak-hosts: $(VENV)/installed-for-tests
	$(ROOT) $(BIN)/python tests/soak/hosts.py --minutes $(MINUTES)

clean:
	rm -rf $(VENV) .nox

$(VENV)/made:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'nbpar needs Python 3.10 or newer')"
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/pip-with-groups: $(VENV)/made  # dependency groups, which an older Python's own pip does not know
	$(BIN)/python -m pip install --quiet "pip>=25.1"
	touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-for-tests: $(VENV)/pip-with-groups pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[notebook]" --group test
	touch $@ $(VENV)/installed

$(VENV)/installed-for-dev: $(VENV)/pip-with-groups pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[notebook]" --group dev
	touch $@ $(VENV)/installed $(VENV)/installed-for-tests $(VENV)/nox-installed

$(VENV)/nox-installed: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet "nox>=2025.10"
	touch $@
