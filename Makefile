# Every verb of the project; `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
VENV_MMS ?= .venv-mms
BUILD ?= build

DATA ?=
WEIGHTS ?=
MODEL ?=
EPOCHS ?=
PORT ?= 8080
SERVER ?= torchserve
ARCHIVE ?= $(BUILD)/demo/model

PIP := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_MMS := $(VENV_MMS)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo serve test acceptance check format clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) $(INSTALLED_MMS) ## Make .venv (serving, training, tests) and .venv-mms (Multi Model Server)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing into $(VENV): about 2 GB, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) torch
	$(VENV)/bin/python $(PIP) --editable '.[torchserve,java,training,demo,dev]'
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

serve: ## Serve an archive until Ctrl-C: [ARCHIVE=file or folder] [PORT=8080] [SERVER=torchserve]
	@test -e $(INSTALLED) || { echo "nothing is installed: run 'make install' first" >&2; exit 1; }
	@test -e '$(ARCHIVE)' || { echo "no archive at $(ARCHIVE): run 'make demo' first, or give ARCHIVE=" >&2; exit 1; }
	@exec $(VENV)/bin/driftserve serve '$(ARCHIVE)' --port $(PORT) --server $(SERVER)

test: $(INSTALLED) ## Run every test that this machine can run
	$(VENV)/bin/python -m pytest -m 'not acceptance'

acceptance: $(INSTALLED) ## Run the whole demo on the images in DRIFTSERVE_DATA and hold its report to the targets
	$(VENV)/bin/python -m pytest -m acceptance --capture=no

check: $(INSTALLED) ## Lint, types and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(INSTALLED) ## Put the code into the house style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## Remove what was built; the environments stay
	rm -rf $(BUILD)
