# The two commands of a new checkout: `make demo` and `make test`.  Both make .venv themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KERNELS := 6.29.5 6.31.0 7.0.1 7.3.0 7.4.0
LEANING := $(addprefix tests/,cluster compat contract integrations kernels notebook output views) \
    $(wildcard tests/test_*.py)
IN_BROWSER := -m pytest -p no:cacheprovider --timeout 400
BUTTONS := $(IN_BROWSER) -q tests/browser/test_buttons_in_browser.py -k "stop_by or pause"
NBVAL := -m pytest -p no:cacheprovider --nbval --nbval-current-env --nbval-cell-timeout 120 \
    --nbval-sanitize-with notebooks/sanitize.cfg notebooks

.PHONY: demo test test-browser test-kernels test-colab test-notebooks test-originals check format notebooks docs bench soak clean

demo: $(VENV)/installed
	$(BIN)/nbpar demo

test: $(VENV)/installed-for-tests check
	$(BIN)/python -m pytest tests
	$(BIN)/python $(NBVAL)

# In JupyterLab and Notebook 7, in Chromium, which must be installed; pictures go to screenshots/.
test-browser: $(VENV)/browser/installed
	$(VENV)/browser/bin/python $(IN_BROWSER) tests/browser

# The buttons in other versions of ipykernel, at the level of messages and in a browser.
test-kernels: $(VENV)/installed-for-tests $(VENV)/browser/installed $(KERNELS:%=$(VENV)/ipykernel-%/installed)
	set -e; for version in $(KERNELS); do \
	    echo "== ipykernel $$version"; \
	    export NBPAR_KERNEL_PYTHON=$(CURDIR)/$(VENV)/ipykernel-$$version/bin/python; \
	    $(BIN)/python -m pytest -q -p no:cacheprovider tests/kernels; \
	    $(VENV)/browser/bin/python $(BUTTONS); \
	done

# What leans on other packages, with the versions that Colab has, among them the oldest ipykernel and
# the older ipywidgets, whose front end is in this environment too, because no other shows them.
# Old kernels leave event loops open, which is no fault of whatever test runs when they are collected.
test-colab: $(VENV)/colab/installed
	$(VENV)/colab/bin/python -m pytest -p no:cacheprovider -W ignore::pytest.PytestUnraisableExceptionWarning $(LEANING)
	$(VENV)/colab/bin/python $(BUTTONS)

# What needs other libraries: spaCy's and Neuraxle's own objects on nbpar's workers.
test-originals: $(VENV)/originals/installed
	$(VENV)/originals/bin/python -m pytest -p no:cacheprovider tests/originals

# The notebooks with an older ipykernel, with optional libraries, by papermill, and with Colab's versions.
test-notebooks: $(VENV)/notebooks/installed $(VENV)/colab/installed
	$(VENV)/notebooks/bin/python $(NBVAL)
	$(VENV)/notebooks/bin/python notebooks/by_papermill.py
	$(VENV)/colab/bin/python $(NBVAL)

check: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# With numba and spaCy, so that readers see what they give.
notebooks: $(VENV)/notebooks/installed
	$(VENV)/notebooks/bin/python notebooks/execute.py

docs: $(VENV)/installed-for-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/installed-for-bench
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/startup.py

soak: $(VENV)/installed-for-tests
	$(BIN)/python tests/soak/soak.py --minutes 30

clean:
	rm -rf $(VENV)

$(VENV)/made:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'nbpar needs Python 3.10 or newer')"
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-for-tests: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@ $(VENV)/installed

$(VENV)/browser/installed: $(VENV)/made pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable ".[browser]"
	touch $@

$(VENV)/colab/installed: $(VENV)/made pyproject.toml tests/kernels/colab.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --constraint tests/kernels/colab.txt --editable ".[test,browser]" spacy
	touch $@

$(VENV)/originals/installed: $(VENV)/made pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable ".[test]" spacy joblib pandas scikit-learn
	$(@D)/bin/python -m pip install --quiet --no-deps neuraxle  # it asks for a matplotlib that cannot be built
	touch $@

$(VENV)/notebooks/installed: $(VENV)/made pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable ".[test]" "ipykernel==6.31.*" numba papermill spacy
	touch $@

$(VENV)/ipykernel-%/installed: $(VENV)/made pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable ".[notebook]" ipykernel==$*
	touch $@

$(VENV)/installed-for-bench: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[test,bench]"
	touch $@

$(VENV)/installed-for-docs: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@
