# Python 3.11 or newer with venv, and make: nothing else is assumed. Everything is installed into .venv.

SHELL := /bin/sh
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11
PY := .venv/bin/python
CODE := flask_zeus_cvs example_shop tests docs/conf.py docs/pages.py
SPHINX := $(PY) -m sphinx -q -E -W --keep-going -n -c docs

.PHONY: help demo test torture fuzz bench texts screenshots figures docs check matrix wheel clean
help:
	@echo "make demo     run the example shop and the sandbox   (PORT=5000 SANDBOX_PORT=5001)"
	@echo "make test     run all tests                          (ARGS='-k lawson' for some of them)"
	@echo "make torture  kill, cut and misbehave; count what is lost (ARGS='--database sqlite --seed 7', ARGS=--celery)"
	@echo "make fuzz     throw mutated notices and answers at it (COUNT=200000 SEED=1)"
	@echo "make bench    the callback against the least that could be done (ARGS='--database sqlite')"
	@echo "              or ARGS=all (each table that has a goal), plans (ten million rows), checkout, imports, sandbox"
	@echo "make texts    gather the customer's texts, bring the translations up to date"
	@echo "make screenshots   take a picture of every page of the customer's (ARGS='--only lawson', ARGS=--papers)"
	@echo "make figures  draw the states, and renew the tables of docs/21-how-it-works.md from the code"
	@echo "make docs     build the documentation, English and Japanese, into build/docs/"
	@echo "make check    lint, formatting, types, and who imports whom"
	@echo "make matrix   install the wheel elsewhere, and run the tests there: each Python, newest and lowest dependencies"
	@echo "              (ARGS='--python 3.12 --deps lowest'; --quick: unit tests only; --smoke: one order, no tests)"
	@echo "make wheel    build the package into dist/"
	@echo "make clean    remove .venv and what was built"

demo: .venv/demo-installed
	@$(PY) -m example_shop

test: .venv/test-installed
	$(PY) -m pytest -n auto $(ARGS)

torture: .venv/test-installed
	@$(PY) -m tests.torture $(ARGS)

fuzz: .venv/test-installed
	@$(PY) -m tests.fuzz --count $(or $(COUNT),200000) --seed $(or $(SEED),1)

bench: .venv/test-installed
	@$(PY) -m tests.benchmarks $(ARGS)

check: .venv/check-installed
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m mypy --strict
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright --pythonpath $(PY)
	$(PY) -m pytest -q tests/test_layers.py

texts: .venv/test-installed
	@$(PY) -m tests.catalogs

screenshots: .venv/test-installed
	@$(PY) -m tests.screenshots $(ARGS)

figures: .venv/test-installed
	@$(PY) -m tests.figures

docs: .venv/docs-installed
	$(SPHINX) -D language=en -d build/docs/.cache/en docs build/docs/en
	$(SPHINX) -D language=ja -d build/docs/.cache/ja docs/ja build/docs/ja
	@echo "Now open build/docs/en/index.html or build/docs/ja/index.html"

matrix: .venv/matrix-installed
	@$(PY) -m tests.matrix $(ARGS)

wheel: .venv/test-installed
	$(PY) -m build

clean:
	rm -rf .venv dist build

# One stamp for each dependency group of pyproject.toml; older than that file, it is installed anew.
.venv/%-installed: pyproject.toml $(PY)
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --editable . --group $*
	@touch $@

$(PY):
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Creating .venv with $$($$python --version)"; \
	    $$python -m venv --clear .venv && exit 0; \
	    rm -rf .venv; \
	    echo "$$python has no working venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	done; \
	echo "Python 3.11 or newer was not found. Install it, or name it: make demo PYTHON=/path/to/python3" >&2; exit 1
