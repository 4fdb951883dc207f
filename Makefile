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
# Releases are made where nothing is installed; their scripts need no packages.
PLAIN_PYTHON = $(firstword $(wildcard $(PYTHON_ENV)/python) python3)
TAG ?= dev
IMAGE ?= fastapi-platform:$(TAG)
RELEASE ?= platform
NAMESPACE ?= platform
WORKERS ?= 3
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

.PHONY: test-code
test-code: environment ## Test everything but the chart, the workflows and the infrastructure: ARGS="-k words"
	@$(PYTHON_ENV)/python -m pytest -n 2 --cov --cov-report=term --ignore=tests/charts --ignore=tests/ci --ignore=tests/infra $(ARGS)

.PHONY: test-chart
test-chart: tools ## Test the chart and the workflows: ARGS="-k words"
	@$(PYTHON_ENV)/python -m pytest -n 2 tests/charts tests/ci $(ARGS)

.PHONY: test-infra
test-infra: tools ## Test the Pulumi program: ARGS="-k words"
	@$(PYTHON_ENV)/python -m pytest -n 2 tests/infra $(ARGS)

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
tools: environment ## Get what chart and workflows are tested with: Helm 3 and 4, checkov, promtool, kube-score, actionlint
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

.PHONY: growth
growth: environment ## Measure how cost grows with rows, sockets, processes and backlogs: ARGS="--only rows --rows 100000"
	@$(PYTHON_ENV)/python -m loadtests.growth $(ARGS)

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

##@ Release

.PHONY: image
image: ## Build the image, and try whether it starts: IMAGE=fastapi-platform:dev TAG=0.1.0
	@docker build --tag "$(IMAGE)" --build-arg VERSION="$(TAG)" --build-arg REVISION="$$(git rev-parse HEAD)" .
	@docker run --rm --read-only --tmpfs /tmp --network none "$(IMAGE)" python -m app openapi >/dev/null

.PHONY: image-push
image-push: ## Push the image to ECR, unless its tag is there; prints its digest: IMAGE=fastapi-platform:dev REPOSITORY=... TAG=...
	@$(PLAIN_PYTHON) -m charts.registry push --image "$(IMAGE)" --url "$$REPOSITORY" --tag "$(TAG)"

.PHONY: kubeconfig
kubeconfig: ## Let kubectl and helm reach a cluster of EKS: CLUSTER=...
	@aws eks update-kubeconfig --name "$$CLUSTER"

.PHONY: running
running: ## Print the revision that serves: RELEASE=platform NAMESPACE=platform
	@$(PLAIN_PYTHON) -m charts.release running --release "$(RELEASE)" --namespace "$(NAMESPACE)"

.PHONY: base
base: ## Print the commit that a service runs: HOST=https://...
	@$(PLAIN_PYTHON) -m charts.release base --host "$$HOST"

.PHONY: deploy
deploy: ## Upgrade the release by digest and test it: VALUES=file DIGEST=sha256:... TAG=commit
	@$(PLAIN_PYTHON) -m charts.release upgrade --release "$(RELEASE)" --namespace "$(NAMESPACE)" \
		--values "$$VALUES" --digest "$$DIGEST" --tag "$(TAG)"

.PHONY: rollback
rollback: ## Take the release back to a revision: REVISION=7
	@$(PLAIN_PYTHON) -m charts.release rollback --release "$(RELEASE)" --namespace "$(NAMESPACE)" --revision "$$REVISION"

# Exit code 2 says that a run tells nothing: it is repeated once, and never taken for a pass.
define judge
"$$@" || { [ $$? -eq 2 ] && echo "That run tells nothing; once more." && "$$@"; }
endef

.PHONY: compare
compare: environment ## Compare this checkout with a commit, in turns and by exact counts: BASE=origin/main
	@set -- $(PYTHON_ENV)/python -m loadtests compare --base "$$BASE" $(ARGS); $(judge)

.PHONY: gate
gate: environment ## Load a service of staging, and judge it by its objectives: HOST=https://... WORKERS=3
	@set -- $(PYTHON_ENV)/python -m loadtests run --profile staging --host "$$HOST" --workers "$(WORKERS)" $(ARGS); $(judge)

.PHONY: promote
promote: ## Tag the image that passed the gate as promoted-TAG: REPOSITORY=... TAG=commit DIGEST=sha256:...
	@$(PLAIN_PYTHON) -m charts.registry promote --url "$$REPOSITORY" --tag "$(TAG)" --digest "$$DIGEST"

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
