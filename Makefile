# `make help` lists the targets. Python is always called as `python -m …`: the first line of an installed
# script breaks in a long path or one with spaces.
PYTHON ?= python3
VENV := .venv/bin/python
ARGS ?=
COMPOSE := docker compose -f docker-compose.yml -f docker-compose.stack.yml
#: Parallel test processes.
JOBS ?= 2
#: What `make test` runs twice, against Valkey and against Redis; a million keys are the same in both.
REDIS_TESTS := tests/cache_admin tests/accounts/test_sessions.py tests/accounts/test_records.py \
	tests/accounts/test_revoked_while_away.py tests/samples/test_taking.py \
	--ignore=tests/cache_admin/keys/test_million.py
define against_redis
if server=$$(command -v redis-server); then \
	echo "The tests of Redis against $$($$server --version | cut -d ' ' -f 1-3):"; \
	ARC_TEST_REDIS=$$server $(VENV) -m pytest -q $(REDIS_TESTS) || \
		{ echo "Tests failed against $$server (make test-redis)."; false; }; \
else \
	echo "There is no redis-server here: the tests of Redis run against Valkey alone."; \
fi
endef

.DEFAULT_GOAL := help
.PHONY: help run test test-redis lint bench up-stack health-postgres health-redis shell-postgres shell-redis \
	migrate-postgres redis-bigkeys generate-secrets bootstrap bootstrap-test

help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

run: bootstrap ## start everything here and stay in the foreground (ARC_PORT=8001 for another port)
	@exec $(VENV) -m arcweb.embedded.run

test: bootstrap-test lint ## lint, then all tests, browser tests too (ARGS="-k search" for some)
	@failed=0; $(if $(ARGS),,{ $(against_redis); } || failed=1;) \
	$(VENV) -m pytest -n $(JOBS) --dist loadgroup $(ARGS) || failed=$$?; \
	exit $$failed

test-redis: bootstrap-test ## the tests of Redis against real Redis (redis-server), where it is installed
	@$(against_redis)

lint: bootstrap-test ## style, types, templates, migrations, deployment checks, import rules
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy
	@find templates -name '*.html' -exec .venv/bin/djade --target-version 5.2 --check {} +
	@ARC_ENV_FILE= $(VENV) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	@secret=$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(48))') && \
		ARC_ENV_FILE= ARC_DATA_DIR=/nonexistent POSTGRES_HOST=localhost POSTGRES_PASSWORD=$$secret \
		REDIS_URL=redis://:$$secret@localhost:6379/0 REDIS_STATE_URL=redis://:$$secret@localhost:6380/0 \
		ARC_SECRET_KEY=$$secret $(VENV) manage.py check --deploy --fail-level WARNING
	@if grep -q '^\[tool.importlinter\]' pyproject.toml || [ -f .importlinter ]; then \
		$(VENV) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'; fi

bench: bootstrap-test ## measure storage and search on this machine (ARGS are its arguments)
	@$(VENV) -m tests.bench $(ARGS)

up-stack: ## the whole system in containers
	@[ -f .env ] || { echo "There is no .env yet: install -m 600 .env.example .env && make generate-secrets >> .env"; exit 1; }
	@$(COMPOSE) up -d --wait

health-postgres: bootstrap ## is PostgreSQL well? exit code 0 or 1
	@$(VENV) manage.py health postgres

health-redis: bootstrap ## is Redis well, in both roles? exit code 0 or 1
	@$(VENV) manage.py health redis

shell-postgres: bootstrap ## psql on the configured database (ARGS="-X -f file.sql")
	@$(VENV) manage.py dbshell -- $(ARGS)

shell-redis: bootstrap ## redis-cli, or the project's own console (ARGS="--role cache")
	@$(VENV) manage.py redis_shell $(ARGS)

migrate-postgres: bootstrap ## bring the configured database to this version's schema
	@$(VENV) manage.py migrate --noinput

redis-bigkeys: bootstrap ## which keys take Redis' memory (ARGS="--role cache")
	@$(VENV) manage.py redis_bigkeys $(ARGS)

generate-secrets: bootstrap ## print new secrets as lines for .env
	@$(VENV) -I arcweb/management/commands/generate_secrets.py

bootstrap:
	@$(PYTHON) -I arcweb/bootstrap.py

bootstrap-test:
	@$(PYTHON) -I arcweb/bootstrap.py --test
