# Every command of the project; `make` lists them.
PYTHON_FOR_VENV = $$(PYTHON="$(PYTHON)" sh tools/python.sh)
PY = .venv/bin/python
.DEFAULT_GOAL = help
.PHONY: help run test test-fast test-pythons lint format docs pins audit bench chaos screenshots clean venv venv-dev

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: venv ## Install, migrate, seed the demo, start web server and cluster (PORT, DATA_DIR, DATABASE_URL, OUTBOUND_ALLOW)
	@exec $(PY) tools/run.py

test: venv-dev ## Run every test: unit, PostgreSQL, cluster, browser; fetches what they need
	@exec $(PY) tools/test.py

test-fast: venv-dev ## Run the unit tests on SQLite, in about a minute
	@exec $(PY) tools/test.py --fast

test-pythons: venv-dev ## Run the unit tests on every other supported Python of this machine
	@exec $(PY) tools/test.py --pythons

lint: venv-dev ## Check style, format, spelling, types, import contracts, migrations, deployment settings and commit subjects
	@exec $(PY) tools/lint.py

format: venv-dev ## Format Python, templates, scripts and stylesheets
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format --quiet .
	@.venv/bin/djangofmt -q templates ; .venv/bin/djangofmt -q check --fix templates ; .venv/bin/djangofmt -q templates
	@$(PY) tools/biome.py format

docs: venv-dev ## Write the reference pages of docs/ anew from the code
	@exec $(PY) -m tools.reference

pins: venv-dev ## Pin every package with its hashes, from the two requirements.in
	@$(PY) tools/pins.py

audit: venv ## Ask the package index whether a pinned package has a known hole
	@exec $(PY) tools/audit.py

bench: venv-dev ## Measure accept and execution rates on SQLite and PostgreSQL
	@exec $(PY) -m bench

chaos: venv-dev ## Kill and stop everything at random under traffic, and check that nothing is lost or done twice
	@exec $(PY) -m chaos

screenshots: venv-dev ## Take the screenshots of the README
	@exec $(PY) tools/screenshots.py

clean: ## Remove what the commands made, but no data (var/)
	@rm -rf .venv .venv.lock .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis tests/.cache tools/.cache test-results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@python=$(PYTHON_FOR_VENV) && exec "$$python" tools/venv.py requirements.txt

venv-dev:
	@python=$(PYTHON_FOR_VENV) && exec "$$python" tools/venv.py requirements-dev.txt
