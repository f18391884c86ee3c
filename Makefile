# The two commands of a new checkout: `make demo` and `make test`.  Both make .venv themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check format notebooks docs bench soak clean

demo: $(VENV)/installed
	$(BIN)/nbpar demo

test: $(VENV)/installed-for-tests check
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout 120 \
	    --nbval-sanitize-with notebooks/sanitize.cfg -p no:cacheprovider notebooks

check: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(VENV)/installed-for-tests
	$(BIN)/python notebooks/execute.py

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

$(VENV)/installed-for-bench: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[test,bench]"
	touch $@

$(VENV)/installed-for-docs: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@
