# The two commands: `make up` and `make test`. Settings come from the environment or the command
# line: `PORT=9000 make up` and `make up PORT=9000` are the same.
.DEFAULT_GOAL := help
.PHONY: help up test check checks clean venv venv-dev bench bench-heartbeat bench-claims bench-longpoll
.PHONY: bench-door bench-redaction bench-rollouts bench-drills bench-first-download bench-streams chaos chaos-portal chaos-agent chaos-update
.PHONY: conformance

BIN := .venv/bin
PY := $(BIN)/python
# Tests start their servers before Django reads its settings.
# Compiled files are kept, whatever the environment says: every worker and every process that a test
# starts would compile all sources anew.
TESTING := PYTHONDONTWRITEBYTECODE= DJANGO_SETTINGS_MODULE=tests.settings
# One more than there are cores: some tests wait for a process.
JOBS ?= $(shell expr $$(nproc 2>/dev/null || echo 1) + 1)
ARGS ?=
SUITE ?=

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Settings: HOST PORT VAR_DIR DATABASE_URL REDIS_URL FLEET_ADMIN_EMAIL FLEET_ADMIN_PASSWORD ENROLL_THIS_MACHINE PYTHON"

up: venv ## Run the portal with everything it needs on this machine
	@exec $(PY) manage.py up

test: venv-dev ## Run all tests on servers of their own (ARGS="-k name" JOBS=2)
	@$(TESTING) $(PY) -m pytest -n $(JOBS) --maxprocesses 8 --dist loadgroup $(ARGS)

check: venv-dev ## Check format, style, types, layers, migrations, API schema, templates, deployment
	@$(PY) -m fleetsite.embedded run -- $(MAKE) --no-print-directory checks

checks:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/djlint --check --lint --quiet templates
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py spectacular --validate --fail-on-warn --file /dev/null
	FLEET_URL=https://portal.example.org ALLOWED_HOSTS=portal.example.org \
		$(PY) manage.py check --deploy --fail-level WARNING

bench: bench-heartbeat bench-claims bench-longpoll bench-streams bench-door bench-redaction bench-rollouts bench-drills bench-first-download ## Run every measurement

bench-heartbeat: venv ## Measure heartbeats per second beside its peers
	@$(PY) -m pip install -qq --disable-pip-version-check --no-input -r requirements-bench.txt
	@exec $(PY) -m bench.heartbeat $(ARGS)

bench-claims: venv ## Measure claims per second, and from queued to started by stream
	@exec $(PY) -m bench.claims $(ARGS)

bench-longpoll: venv ## Measure what 10,000 waiting devices cost one gateway (ARGS="--polls 1000")
	@exec $(PY) -m bench.longpoll $(ARGS)

bench-streams: venv ## Measure what people's event streams cost one gateway, and how late they tell
	@exec $(PY) -m bench.streams $(ARGS)

bench-door: venv-dev ## Measure Django behind the gateway by the portal's handler and by its own, in turn
	@exec $(PY) -m bench.door $(ARGS)

bench-redaction: venv ## Measure how well and how fast secrets are taken out of bundles
	@exec $(PY) -m bench.redaction

bench-rollouts: venv-dev ## Measure a rollout to 100,000 devices: plan, sweep, eligibility (ARGS="--devices 10000")
	@exec $(PY) -m bench.rollouts $(ARGS)

bench-drills: venv ## Count how often failing and healthy rollouts stop themselves
	@$(PY) -m fleetsite.embedded run -- sh -c '$(PY) manage.py migrate -v 0 && exec $(PY) -m bench.drills'

bench-first-download: venv-dev ## Measure from publishing a release to the first byte on a canary (ARGS="--rounds 5")
	@PYTHONPATH=agent exec $(PY) -m bench.first_download $(ARGS)

chaos: chaos-portal chaos-agent chaos-update ## Break things on purpose and count what is lost or doubled

chaos-portal: venv ## Kill worker, web, gateway, PostgreSQL and Redis under load (ARGS="web redis")
	@exec $(PY) -m bench.chaos $(ARGS)

chaos-agent: venv-dev ## Kill the agent at every system call of a command's life (ARGS="--every 10")
	@exec $(PY) -m bench.agent_crash $(ARGS)

chaos-update: venv-dev ## Kill the agent, and fail its disk, at every system call of an update (ARGS="--every 10")
	@exec $(PY) -m bench.update_crash $(ARGS)

conformance: venv-dev ## Run the TUF project's conformance suite against the agent (SUITE=a checkout of it)
	@exec $(PY) -m bench.tuf_conformance --suite "$(SUITE)" $(ARGS)

clean: ## Remove what was built and installed; the data in var/ stays
	@rm -rf .venv .venv.lock .test-servers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
	@echo "Removed. The portal's data is still in $${VAR_DIR:-var}/."

venv:
	@scripts/make-venv runtime

venv-dev:
	@scripts/make-venv dev
