# Every verb of the project; `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
VENV_MMS ?= .venv-mms
BUILD ?= build

DATA ?=
OOD ?=
WEIGHTS ?=
MODEL ?=
EPOCHS ?=
PORT ?= 8080
SERVER ?= torchserve
ARCHIVE ?= $(BUILD)/demo/model

PIP := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_MMS := $(VENV_MMS)/.installed
SERVER_VENV := $(if $(filter mms,$(SERVER)),$(VENV_MMS),$(VENV))
PYTEST := VENV_MMS='$(VENV_MMS)' $(VENV)/bin/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help install demo certificate serve test faults fuzz bench bench-drift coverage acceptance check docs format clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) $(INSTALLED_MMS) ## Make .venv (serving, training, tests) and .venv-mms (Multi Model Server)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing into $(VENV): about 2 GB, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) torch
	$(VENV)/bin/python $(PIP) --editable '.[torchserve,java,lambda,training,demo,dev]'
	@touch $@

# Its own environment: the archivers of MMS and TorchServe install the same top-level module.
$(INSTALLED_MMS): pyproject.toml constraints.txt
	@echo "installing into $(VENV_MMS): about 1 GB, a minute"
	$(PYTHON) -m venv $(VENV_MMS)
	$(VENV_MMS)/bin/python $(PIP) torch
	$(VENV_MMS)/bin/python $(PIP) --editable '.[mms,java]'
	@touch $@

demo: $(INSTALLED) ## Train, archive, serve, find drift: [DATA=folder] [WEIGHTS=file] [MODEL=] [EPOCHS=] [PORT=]
	$(VENV)/bin/python -m driftserve_demo --output $(BUILD)/demo --port $(PORT) \
	  $(if $(DATA),--data '$(DATA)') $(if $(WEIGHTS),--weights '$(WEIGHTS)') \
	  $(if $(MODEL),--model '$(MODEL)') $(if $(EPOCHS),--epochs '$(EPOCHS)')

certificate: $(INSTALLED) ## Export the demo's model again with the full drift certificate: DATA=folder
	@test -n '$(DATA)' || { echo "expected DATA=, the folder of images that the demo was given" >&2; exit 1; }
	$(VENV)/bin/python -m driftserve_training export --trained $(BUILD)/demo/training --data '$(DATA)' \
	  --output $(BUILD)/demo --certificate full

serve: ## Serve an archive until Ctrl-C: [ARCHIVE=file or folder] [PORT=8080] [SERVER=torchserve]
	@test -e $(SERVER_VENV)/.installed || { echo "nothing is installed: run 'make install' first" >&2; exit 1; }
	@test -e '$(ARCHIVE)' || { echo "no archive at $(ARCHIVE): run 'make demo' first, or give ARCHIVE=" >&2; exit 1; }
	@exec $(SERVER_VENV)/bin/driftserve serve '$(ARCHIVE)' --port $(PORT) --server $(SERVER)

test: $(INSTALLED) $(INSTALLED_MMS) ## Run every test that this machine can run, but the slow ones below
	$(PYTEST) -m 'not acceptance and not faults and not bench'

faults: $(INSTALLED) $(INSTALLED_MMS) ## Hit both servers with what happens in production: some 8 minutes
	$(PYTEST) -m faults

fuzz: $(INSTALLED) ## Try 10,000 generated inputs a test, where `make test` tries 100
	$(PYTEST) -m fuzz --hypothesis-profile=fuzz --timeout=3600

bench: $(INSTALLED) ## Measure the channel for a minute, the price of being observed, the memory of decoding
	$(PYTEST) -m bench --capture=no

bench-drift: $(INSTALLED) ## Measure the drift detector on real images, after `make demo`: DATA=folder [OOD=folder]
	@test -n '$(DATA)' || { echo "expected DATA=, the folder of images that the demo was given" >&2; exit 1; }
	$(VENV)/bin/python -m driftserve_benchmark --archive $(BUILD)/demo/model --data '$(DATA)' \
	  $(if $(OOD),--ood '$(OOD)') --cache $(BUILD)/bench-drift

coverage: $(INSTALLED) $(INSTALLED_MMS) ## Measure the branch coverage of driftserve, in all its processes
	@rm -rf $(BUILD)/coverage && mkdir -p $(BUILD)/coverage
	$(VENV)/bin/coverage run -m pytest -m 'not acceptance and not faults and not bench' --ignore=tests/e2e
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

acceptance: $(INSTALLED) ## Run the whole demo on the images in DRIFTSERVE_DATA and hold its report to the targets
	$(PYTEST) -m acceptance --capture=no

check: $(INSTALLED) ## Lint, types and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy docs/generate.py container/entrypoint.py
	$(VENV)/bin/lint-imports

docs: $(INSTALLED) ## Write docs/settings.md and docs/metrics.md again, from the code
	$(VENV)/bin/python docs/generate.py

format: $(INSTALLED) ## Put the code into the house style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## Remove what was built; the environments stay
	rm -rf $(BUILD)
