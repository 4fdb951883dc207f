# Commands of the project: thin over scripts, and described where they stand.
# `make` or `make help` lists them.

.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

PYTHON_ENV := .venv/bin
API_PORT ?= 8000
LOCAL_DIR ?= .local
ARGS ?=
WITH_STACK = $(PYTHON_ENV)/python -m app.local.with_stack "$(LOCAL_DIR)"
# pyright is fetched from its registry once, and stays with the environment.
export PYRIGHT_PYTHON_CACHE_DIR := $(CURDIR)/.venv/pyright
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

##@ Run

.PHONY: run
run: export API_PORT := $(API_PORT)
run: ## Run the whole service here: API_PORT=8000 LOCAL_DIR=.local RESET=1 ARGS=--detach
	@app/local/bootstrap.sh requirements/local.txt
	@exec $(PYTHON_ENV)/python -m app run --local-dir "$(LOCAL_DIR)" $(if $(RESET),--reset) $(ARGS)

.PHONY: stop
stop: ## Stop what runs in the background: LOCAL_DIR=.local
	@if [ -x $(PYTHON_ENV)/python ]; then $(PYTHON_ENV)/python -m app stop --local-dir "$(LOCAL_DIR)"; else echo "Nothing was ever started here."; fi

.PHONY: doctor
doctor: ## Check the settings and the servers of what runs, with remedies
	@app/local/bootstrap.sh requirements/local.txt
	@$(WITH_STACK) $(PYTHON_ENV)/python -m app doctor $(ARGS)

.PHONY: flights
flights: environment ## Import the flights of 2013 into the running stack: ARGS="--rows 5000 --faulty"
	@$(PYTHON_ENV)/python -m tests.flights --stack "$(LOCAL_DIR)/stack.json" $(ARGS)

##@ Check

.PHONY: test
test: lint types tools ## Run everything: lint, types, all tests with coverage: ARGS="-k words"
	@$(PYTHON_ENV)/python -m pytest -n 2 --cov --cov-report=term $(ARGS)

.PHONY: lint
lint: environment ## Look for mistakes and bad style
	@$(PYTHON_ENV)/ruff check .
	@$(PYTHON_ENV)/ruff format --check --quiet . || { echo "Not formatted; run: make format"; exit 1; }
	@$(PYTHON_ENV)/lint-imports --no-cache >.venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }
	@$(PYTHON_ENV)/shellcheck app/local/*.sh .ci/run
	@$(PYTHON_ENV)/yamllint --strict .
	@$(PYTHON_ENV)/python -m migrations.lint
	@$(PYTHON_ENV)/python -m charts.generate --check
	@$(PYTHON_ENV)/python -m infra.generate --check

.PHONY: types
types: environment ## Check the types, twice
	@$(PYTHON_ENV)/pyright
	@$(PYTHON_ENV)/mypy

.PHONY: tools
tools: environment ## Get what the chart is tested with: Helm 3 and 4, checkov, promtool, kube-score
	@$(PYTHON_ENV)/python -m charts.install_tools

.PHONY: format
format: environment ## Format the code and mend what can be mended
	@$(PYTHON_ENV)/ruff check --fix-only --quiet .
	@$(PYTHON_ENV)/ruff format .

.PHONY: profile
profile: environment ## Measure what a request costs and where it goes
	@$(PYTHON_ENV)/python -m loadtests.profile $(ARGS)

.PHONY: load
load: environment ## Load the local stack and judge it by its objectives: ARGS="--profile spike"
	@$(PYTHON_ENV)/python -m loadtests run $(ARGS)

.PHONY: bench
bench: environment ## Measure the API beside bare servers of Node.js, Go and textbook FastAPI: ARGS="--rounds 3"
	@$(PYTHON_ENV)/python -m loadtests.bench $(ARGS)

.PHONY: reliability
reliability: environment ## Kill 200 processes of a stack under load, and count what is lost: ARGS="--kills 20"
	@$(PYTHON_ENV)/python -m tests.reliability $(ARGS)

.PHONY: e2e
e2e: environment tools ## Try releases on the cluster of KUBECONFIG, with the images E2E_IMAGE and E2E_IMAGE_NEXT: ARGS="-k words"
	@E2E=1 $(PYTHON_ENV)/python -m pytest tests/e2e $(ARGS)

.PHONY: infra-faults
infra-faults: environment ## Write docs/reference/seeded-faults.md: mistakes made on purpose, and which check catches each
	@$(PYTHON_ENV)/python -m tests.infra.faults

.PHONY: infra-rehearsal
infra-rehearsal: environment ## Provision every stage on Pulumi's own engine, against an AWS on this machine: ARGS="--stage dev"
	@$(PYTHON_ENV)/python -m tests.infra.rehearsal $(ARGS)

##@ Change

.PHONY: migration
migration: environment ## Write a migration from the models, on the running stack: NAME="add a column"
	@test -n "$(NAME)" || { echo 'Say what it does: make migration NAME="add a column"'; exit 1; }
	@$(WITH_STACK) $(PYTHON_ENV)/alembic revision --autogenerate --message "$(NAME)" \
		--rev-id "$$(printf '%04d' $$(($$(ls migrations/versions/[0-9]*.py | wc -l) + 1)))"

.PHONY: lock
lock: environment ## Write requirements/*.txt from pyproject.toml: UPGRADE=1
	@UPGRADE=$(UPGRADE) app/local/lock.sh

.PHONY: openapi
openapi: environment ## Write the API document: OUT=openapi.json
	@$(PYTHON_ENV)/python -m app openapi >$(or $(OUT),openapi.json)

.PHONY: docs
docs: environment ## Write docs/reference from the code, the chart's schema and README, and what the infrastructure looks like and costs
	@$(PYTHON_ENV)/python -m app docs
	@$(PYTHON_ENV)/python -m charts.generate
	@$(PYTHON_ENV)/python -m infra.generate

##@ Other

.PHONY: clean
clean: ## Delete what commands made: environment, caches, reports; not the stack's data
	@rm -rf .venv .venv.lock .venv-uv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis htmlcov .coverage .coverage.* coverage.xml
	@find app charts infra tests migrations loadtests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: environment
environment:
	@app/local/bootstrap.sh requirements/dev.txt
