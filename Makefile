PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo screenshots test quick check mutations bench faults faults-short lock clean

# The stamps make a second call cheap; a changed lock installs anew.
$(VENV)/run: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/test: requirements-test.lock $(VENV)/run
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-test.lock
	touch $@

demo: $(VENV)/run
	$(BIN)/fediletter demo

test: $(VENV)/test
	$(BIN)/python -m pytest -n auto $(ARGS)

# The everyday loop: under three minutes.
quick: $(VENV)/test
	$(BIN)/python -m pytest -n 3 -m "not slow" $(ARGS)

check: $(VENV)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Fault tests (security.md 12): the short forms with every change, in under five minutes; all of them,
# as long as the contract says, by `make faults`; one hour of FT-25 by `make faults SOAK=3600`.
faults-short: $(VENV)/test
	$(BIN)/python -m tests.faults short

faults: $(VENV)/test
	$(BIN)/python -m tests.faults all $(if $(SOAK),--soak $(SOAK))

# Whether a test fails when the enforcement of a rule is taken away (security.md 13.6): before each
# release, or `make mutations RULES="IN-2 FE-6"`.
mutations: $(VENV)/test
	$(BIN)/python -m tests.mutations $(RULES)

# Ratios measured in one run; never part of the tests. `make bench ROWS="mail pages"` for some.
bench: $(VENV)/test
	$(BIN)/python -m tests.bench $(ROWS)

# Locks hold names, versions and hashes, no addresses: any mirror will do.
lock:
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install -q uv
	.venv-lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --upgrade pyproject.toml build-requirements.in -o requirements.lock
	.venv-lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --extra test -c requirements.lock pyproject.toml build-requirements.in -o requirements-test.lock

# The three pictures of the README.
screenshots: $(VENV)/test
	$(BIN)/python -m tests.web.screenshots docs

clean:
	rm -rf $(VENV) .venv-lock build *.egg-info
