# make up, make mesh, make test, make test-compose, make golden, make check: each makes the environment it needs first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: up mesh test test-compose golden check format clean

up: .venv/run.stamp
	@exec $(BIN)/sagagen up

mesh: .venv/run.stamp
	@exec $(BIN)/sagagen up --mesh

test: .venv/dev.stamp
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-compose: .venv/dev.stamp
	@$(BIN)/python -m pytest tests/system/test_compose.py tests/system/test_compose_of_a_new_project.py $(ARGS)

# Accept what the contracts in tests/golden/ become today: all of them, or `make golden CASES="NAME NAME"`.
golden: .venv/dev.stamp
	@PYTHONPATH=codegen:. $(BIN)/python tests/golden/rewrite.py $(CASES)
	@git add --intent-to-add tests/golden && git --no-pager diff --stat -- tests/golden

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/sagagen check
	$(BIN)/sagagen generate --check

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv var dist .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("sagagen needs Python 3.11 or later, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv

.venv/run.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing sagagen into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[codegen]'
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing sagagen and its development tools into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[codegen,dev]'
	@touch $@ .venv/run.stamp
