# make up, up-postgres, mesh, test, test-compose, golden, check, docs, lock, release: each makes the environment it needs first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: up up-postgres mesh test test-compose golden check docs format lock pin release clean

up: .venv/run.stamp
	@exec $(BIN)/sagagen up

# The services on a PostgreSQL of this project's own, kept in var/postgres.
up-postgres: .venv/postgres.stamp
	@exec $(BIN)/sagagen up --postgres

mesh: .venv/run.stamp
	@exec $(BIN)/sagagen up --mesh

# Three workers for two cores: tests that start processes wait for a good part of their time.
test: .venv/dev.stamp
	@$(BIN)/python -m compileall -q codegen contracts generated handlers gateway bench tests
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-compose: .venv/dev.stamp
	@SAGAGEN_PROOFS=all $(BIN)/python -m pytest tests/system/test_compose.py tests/system/test_compose_of_a_new_project.py \
	  tests/system/test_compose_postgres.py tests/system/test_compose_distributed.py $(ARGS)

# Accept what the contracts in tests/golden/ become today: all of them, or `make golden CASES="NAME NAME"`.
golden: .venv/dev.stamp
	@PYTHONPATH=codegen:.:tests $(BIN)/python tests/golden/rewrite.py $(CASES)
	@git add --intent-to-add tests/golden && git --no-pager diff --stat -- tests/golden

# ARGS="tests/service tests/engine ..." for more of them.
BOUND_TESTS ?= tests/plain tests/service/test_database.py tests/service/test_transport_conformance.py \
  tests/service/test_grpc_headers.py tests/service/test_grpc_interop.py tests/edge/test_http_server.py \
  tests/telemetry/test_otlp_exporters.py tests/telemetry/test_otlp_spans.py tests/telemetry/test_instruments.py tests/wire \
  tests/security/test_tokens.py tests/security/test_certificate_folders.py tests/security/test_mtls.py

test-lowest test-newest: test-%: .venv-%/stamp
	@.venv-$*/bin/python -m pytest -q $(or $(ARGS),$(BOUND_TESTS))

.venv-%/stamp: pyproject.toml tools/dependency_bounds.py
	@echo "installing sagagen with the $* versions that pyproject.toml allows into .venv-$* ..."
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check packaging
	@.venv-$*/bin/python tools/dependency_bounds.py $* > .venv-$*/constraints.txt
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-$*/constraints.txt \
	  $(if $(filter newest,$*),--upgrade --upgrade-strategy eager) -e '.[codegen,dev]'
	@touch $@

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/sagagen check
	$(BIN)/sagagen generate --check

# The pages of docs/ as a site: site/index.html, which needs no server.
docs: .venv/dev.stamp
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the image installs: every package by version and hash, for all platforms. It needs a package index.
lock: .venv-release/stamp
	@.venv-release/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --extra postgres --extra restate -c constraints.txt -o requirements.lock pyproject.toml

# Digests of the base images, as a registry has them now, into .env, which compose reads. It needs docker and the registries.
pin:
	@sh generated/deploy/pin_images.sh

# The wheel, the sdist, and what is in the image (CycloneDX): dist/.
release: .venv-release/stamp
	@rm -rf dist .venv-image
	@.venv-release/bin/python -m build --outdir dist .
	@$(PYTHON) -m venv --without-pip .venv-image
	@.venv-release/bin/python -m pip --python .venv-image/bin/python install --quiet --require-hashes -r requirements.lock
	@.venv-release/bin/python -m pip --python .venv-image/bin/python install --quiet --no-deps dist/*.whl
	@.venv-release/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON \
	  -o dist/sagagen.cdx.json .venv-image/bin/python

.venv-release/stamp: tools/requirements-release.txt
	@$(PYTHON) -m venv .venv-release
	@.venv-release/bin/python -m pip install --quiet --disable-pip-version-check -r tools/requirements-release.txt
	@touch $@

clean:
	rm -rf .venv .venv-lowest .venv-newest .venv-release .venv-image var dist site .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("sagagen needs Python 3.11 or later, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv

.venv/run.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing sagagen into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[codegen]'
	@touch $@

.venv/postgres.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing sagagen with asyncpg into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[codegen,postgres]'
	@touch $@ .venv/run.stamp

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing sagagen and its development tools into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[codegen,dev]'
	@touch $@ .venv/run.stamp .venv/postgres.stamp
