# Every verb of the project; `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
VENV_MMS ?= .venv-mms
VENV_PIPELINE ?= .venv-pipeline
BUILD ?= build

DATA ?=
OOD ?=
WEIGHTS ?=
PARAMS ?=
IMAGES_PER_CLASS ?=
MODEL ?=
EPOCHS ?=
QUICK ?=
PORT ?= 8080
SERVER ?= torchserve
AGAIN ?=
SHORT ?=
ARCHIVE ?= $(BUILD)/demo/model

DOCKER ?= docker
DOCKER_BUILD ?= $(DOCKER) build
AWS ?= aws
IMAGE ?= driftserve
TARGETS ?= serving serving-mms lambda training
REGISTRY ?=
REPOSITORY ?= driftserve
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' handler/driftserve/__init__.py)
REVISION ?= $(or $(CODEBUILD_RESOLVED_SOURCE_VERSION),$(shell git describe --always --dirty --abbrev=12 2>/dev/null),unknown)

# Each folder with a pyproject.toml is a project of its own beside the product: installed in .venv, checked by its layers.
PROJECTS := $(patsubst %/pyproject.toml,%,$(wildcard */pyproject.toml))

PIP := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PIP_PIPELINE := $(subst constraints.txt,constraints-pipeline.txt,$(PIP))
INSTALLED := $(VENV)/.installed
INSTALLED_MMS := $(VENV_MMS)/.installed
INSTALLED_PIPELINE := $(VENV_PIPELINE)/.installed
SERVER_VENV := $(if $(filter mms,$(SERVER)),$(VENV_MMS),$(VENV))
# Processes of pytest; tests that wait for a server leave a core to others.
TEST_PROCESSES ?= 3
IN_PARALLEL := --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# Bytecode is kept, whatever the shell says: each of a hundred processes would compile the packages anew.
PYTEST = PYTHONDONTWRITEBYTECODE= VENV_MMS='$(VENV_MMS)' VENV_PIPELINE='$(VENV_PIPELINE)' $(VENV)/bin/python -m pytest

SUITE := tests/container/test_suite.py::test_the_smoke_suite_passes

.DEFAULT_GOAL := help
.PHONY: help install install-pipeline demo pipeline-dry pipeline-local certificate serve image run sbom test faults test-image test-images fuzz \
  bench bench-drift coverage acceptance check docs pictures format login push clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) $(INSTALLED_MMS) ## Make .venv (serving, training, tests) and .venv-mms (Multi Model Server)

$(INSTALLED): pyproject.toml constraints.txt $(PROJECTS:%=%/pyproject.toml)
	@echo "installing into $(VENV): about 2 GB, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) torch
	$(VENV)/bin/python $(PIP) --editable '.[torchserve,java,lambda,training,local,dev]' \
	  $(PROJECTS:%=--editable ./%)
	@touch $@

# Its own environment: the archivers of MMS and TorchServe install the same top-level module.
$(INSTALLED_MMS): pyproject.toml constraints.txt
	@echo "installing into $(VENV_MMS): about 1 GB, a minute"
	$(PYTHON) -m venv $(VENV_MMS)
	$(VENV_MMS)/bin/python $(PIP) torch
	$(VENV_MMS)/bin/python $(PIP) --editable '.[mms,java]'
	@touch $@

install-pipeline: $(INSTALLED_PIPELINE) ## Make .venv-pipeline (the SageMaker SDK: its local mode, the pipeline)

# What the extra `pipeline` names, and the package without what serving needs: the pipeline takes no torch.
$(INSTALLED_PIPELINE): pyproject.toml constraints-pipeline.txt
	@echo "installing into $(VENV_PIPELINE): about 1 GB, a few minutes"
	$(PYTHON) -m venv $(VENV_PIPELINE)
	$(VENV_PIPELINE)/bin/python $(PIP_PIPELINE) sagemaker sagemaker-core sagemaker-mlops sagemaker-serve sagemaker-train
	$(VENV_PIPELINE)/bin/python $(PIP_PIPELINE) --no-deps --editable .
	@touch $@

demo: $(INSTALLED) ## Train, archive, serve, find drift: [DATA=folder] [WEIGHTS=file] [MODEL=] [EPOCHS=] [PORT=] [QUICK=1]
	@exec $(VENV)/bin/python -m driftserve_demo --output $(BUILD)/demo --port $(PORT) \
	  $(if $(DATA),--data '$(DATA)') $(if $(WEIGHTS),--weights '$(WEIGHTS)') \
	  $(if $(MODEL),--model '$(MODEL)') $(if $(EPOCHS),--epochs '$(EPOCHS)') $(if $(QUICK),--quick)

DRAWN := $(BUILD)/pipeline-dry/data
# A word of the shell, whatever is in it; make's own functions know no blanks in the names of files.
quoted = '$(subst ','\'',$(1))'
LOCAL_RUN = --pipeline-python $(VENV_PIPELINE)/bin/python --images $(call quoted,$(or $(DATA),$(DRAWN))) \
  $(if $(DATA),,--drawn) $(if $(WEIGHTS),--weights $(call quoted,$(WEIGHTS))) \
  $(foreach param,CodeRevision=$(REVISION) $(PARAMS),--param $(call quoted,$(param)))

pipeline-dry: $(INSTALLED) $(INSTALLED_PIPELINE) $(if $(DATA),,$(DRAWN)) ## Run the whole pipeline as processes: [DATA=folder] [WEIGHTS=file] [PARAMS="NAME=VALUE ..."] [AGAIN=1]
	$(VENV)/bin/python -m driftserve_pipeline.local.processes --work $(BUILD)/pipeline-dry $(if $(AGAIN),--again) $(LOCAL_RUN)

pipeline-local: $(INSTALLED) $(INSTALLED_PIPELINE) $(if $(DATA),,$(DRAWN)) ## Run it in containers, after `make image`: [DATA=folder] [IMAGES_PER_CLASS=60] [WEIGHTS=file] [PARAMS=]
	$(VENV)/bin/python -m driftserve_pipeline.local.containers --work $(BUILD)/pipeline-local \
	  --docker $(call quoted,$(DOCKER)) --image-repository $(call quoted,$(IMAGE)) \
	  $(if $(IMAGES_PER_CLASS),--images-per-class $(IMAGES_PER_CLASS)) $(LOCAL_RUN)

$(DRAWN):
	$(VENV)/bin/python -c 'import pathlib, driftserve_demo.synthetic as drawn; \
	  drawn.write_dataset(pathlib.Path("$@.part"), {"train": 60, "val": 60, "test": 40})'
	@mv $@.part $@

certificate: $(INSTALLED) ## Export the demo's model again with the full drift certificate: DATA=folder
	@test -n '$(DATA)' || { echo "expected DATA=, the folder of images that the demo was given" >&2; exit 1; }
	$(VENV)/bin/python -m driftserve_training export --trained $(BUILD)/demo/training --data '$(DATA)' \
	  --output $(BUILD)/demo --certificate full

serve: ## Serve an archive until Ctrl-C: [ARCHIVE=file or folder] [PORT=8080] [SERVER=torchserve]
	@test -e $(SERVER_VENV)/.installed || { echo "nothing is installed: run 'make install' first" >&2; exit 1; }
	@test -e '$(ARCHIVE)' || { echo "no archive at $(ARCHIVE): run 'make demo' first, or give ARCHIVE=" >&2; exit 1; }
	@exec $(SERVER_VENV)/bin/driftserve serve '$(ARCHIVE)' --port $(PORT) --server $(SERVER)

# Labels at the end, and not as arguments: another revision builds nothing again.
image: ## Build the images driftserve:serving, :serving-mms, :lambda and :training: [TARGETS=serving]
	@for target in $(TARGETS); do \
	  $(DOCKER_BUILD) --target $$target --tag $(IMAGE):$$target \
	    --label org.opencontainers.image.version=$(VERSION) --label org.opencontainers.image.revision=$(REVISION) . \
	  || exit 1; done

run: ## Serve an archive in Docker until Ctrl-C: [ARCHIVE=folder] [PORT=8080]
	@test -d '$(ARCHIVE)' || { echo "no archive in a folder $(ARCHIVE): run 'make demo' first, or give ARCHIVE=" >&2; exit 1; }
	@exec $(DOCKER) run --rm --publish 127.0.0.1:$(PORT):8080 --volume '$(abspath $(ARCHIVE)):/opt/ml/model:ro' $(IMAGE):serving

sbom: ## Write each image's bill of materials to build/: [TARGETS=serving]
	@mkdir -p $(BUILD)
	@for target in $(TARGETS); do \
	  $(DOCKER) run --rm --entrypoint cat $(IMAGE):$$target /opt/driftserve/sbom.cdx.json \
	    > $(BUILD)/sbom-$$target.cdx.json && echo $(BUILD)/sbom-$$target.cdx.json || exit 1; done

test: $(INSTALLED) $(INSTALLED_MMS) ## Run every test that this machine can run, but the slow ones below
	$(PYTEST) $(IN_PARALLEL) -m 'not acceptance and not faults and not bench and not image'

faults: $(INSTALLED) $(INSTALLED_MMS) ## Hit both servers with what happens in production: some 8 minutes, [SHORT=1] 2
	$(PYTEST) -m 'faults$(if $(SHORT), and core)'

test-image: $(INSTALLED) ## Run the endpoint suite against the images that were built: [TARGETS=serving]
	IMAGES=required $(PYTEST) $(foreach target,$(filter-out training,$(TARGETS)),'$(SUITE)[$(target)]')

test-images: $(INSTALLED) $(INSTALLED_PIPELINE) image ## Build every image, and run all tests of them: faults, SageMaker's local mode; some 12 minutes
	IMAGES=required $(PYTEST) -m image

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
	PYTHONDONTWRITEBYTECODE= $(VENV)/bin/coverage run -m pytest $(IN_PARALLEL) \
	  -m 'not acceptance and not faults and not bench and not image' --ignore=tests/e2e
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

acceptance: $(INSTALLED) ## Run the whole demo on the images in DRIFTSERVE_DATA and hold its report to the targets
	$(PYTEST) -m acceptance --capture=no

check: $(INSTALLED) ## Lint, types and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	for project in . $(PROJECTS); do $(VENV)/bin/lint-imports --config $$project/pyproject.toml || exit 1; done

docs: $(INSTALLED) ## Write docs/settings.md and docs/metrics.md again, from the code
	$(VENV)/bin/python docs/generate.py

pictures: $(INSTALLED) ## Make docs/pictures again; runs the demo where no recording of it exists: [AGAIN=1] [QUICK=1]
	$(VENV)/bin/python -m driftserve_pictures --demo $(BUILD)/demo $(if $(AGAIN),--again)

format: $(INSTALLED) ## Put the code into the house style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

login: ## Log Docker in to the registry: REGISTRY=ACCOUNT.dkr.ecr.REGION.amazonaws.com
	@test -n '$(REGISTRY)' || { echo "expected REGISTRY=, as ACCOUNT.dkr.ecr.REGION.amazonaws.com" >&2; exit 1; }
	$(AWS) ecr get-login-password | $(DOCKER) login --username AWS --password-stdin '$(REGISTRY)'

push: ## Push the images, and name them by digest in imagedefinitions.json: REGISTRY= [REPOSITORY=driftserve] [TARGETS=]
	$(PYTHON) container/push.py --docker '$(DOCKER)' --registry '$(REGISTRY)' --repository '$(REPOSITORY)' \
	  --image '$(IMAGE)' --revision '$(REVISION)' $(TARGETS)

clean: ## Remove what was built; the environments stay
	rm -rf $(BUILD)
