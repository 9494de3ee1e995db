# All commands of the project; `make` alone lists them.

# `make help` prints the lines that begin with #: below the commands.
#: DATA=folder          your images: train/<class>/<image>, and the same for val/, test/ and stream/, which
#:                      imitates live traffic; the pipeline needs only train/ and test/ (default: synthetic images)
#: OOD=folder           bench-drift: images that belong to no class
#: WEIGHTS=file         timm weights file (default for your images: downloaded; for synthetic images: none)
#: PARAMS="A=x B=y"     parameters of the pipeline; docs/pipeline.md lists them
#: IMAGES_PER_CLASS=60  pipeline-local: number of images per class and split (default: 60)
#: MODEL=name           timm model of the demo (default: the model of WEIGHTS, else test_resnet for synthetic images, mobilenetv2_100 for yours)
#: EPOCHS=number        training epochs of the demo
#: QUICK=1              draw fewer images and send less traffic
#: PORT=8080            port of the server (default: 8080)
#: SERVER=mms           Multi Model Server (default: torchserve)
#: AGAIN=1              pipeline-dry: run finished steps again; pictures: record the demo again
#: SHORT=1              faults: run only the tests that CI runs; 2 minutes
#: ARCHIVE=path         a .mar file, or a folder with one; `run` accepts only a folder (default: build/demo/model)
#: TARGETS=serving      some of the Docker images (default: serving serving-mms lambda training)
#: REGISTRY=name        ACCOUNT.dkr.ecr.REGION.amazonaws.com
#: REPOSITORY=name      repository in the registry (default: driftserve)

# What a user gives is text: make expands no `$` in it, and every recipe quotes it. DOCKER, DOCKER_BUILD, AWS and
# PYTHON are commands, which the shell reads.
GIVEN := DATA OOD WEIGHTS PARAMS IMAGES_PER_CLASS MODEL EPOCHS QUICK PORT SERVER AGAIN SHORT ARCHIVE TARGETS REGISTRY REPOSITORY \
  IMAGE REVISION CODEBUILD_RESOLVED_SOURCE_VERSION VENV VENV_MMS VENV_PIPELINE BUILD TEST_PROCESSES
define newline


endef
$(foreach name,$(GIVEN),$(if $(findstring $(newline),$(value $(name))),$(error expected $(name) in one line, got a line break in it)))
$(foreach name,$(GIVEN),$(if $(filter environment% command%,$(origin $(name))),$(eval override $(name) := $$(value $(name)))))
# A word of the shell, whatever is in it; make's own functions know no blanks in the names of files.
quoted = '$(subst ','\'',$(1))'

PYTHON ?= python3
VENV ?= .venv
VENV_MMS ?= .venv-mms
VENV_PIPELINE ?= .venv-pipeline
BUILD ?= build
# They are parts of targets, which have no blanks.
$(foreach name,VENV VENV_MMS VENV_PIPELINE BUILD,$(if $(word 2,$($(name))),$(error expected $(name) without blanks, got $($(name)))))

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

UV_VERSION := 0.13.9
INSTALLED := $(VENV)/.installed
INSTALLED_MMS := $(VENV_MMS)/.installed
INSTALLED_PIPELINE := $(VENV_PIPELINE)/.installed
TARGET_WORDS = $(foreach target,$(TARGETS),$(call quoted,$(target)))
OURS := $(call quoted,$(VENV)/bin)
PIPELINES := $(call quoted,$(VENV_PIPELINE)/bin/python)
SERVER_VENV := $(if $(filter mms,$(SERVER)),$(VENV_MMS),$(VENV))
# Processes of pytest; tests that wait for a server leave a core to others.
TEST_PROCESSES ?= 3
IN_PARALLEL := --numprocesses $(call quoted,$(TEST_PROCESSES)) --dist loadfile --no-loadscope-reorder
# Bytecode is kept, whatever the shell says: each of a hundred processes would compile the packages anew.
PYTEST = PYTHONDONTWRITEBYTECODE= VENV_MMS=$(call quoted,$(VENV_MMS)) VENV_PIPELINE=$(call quoted,$(VENV_PIPELINE)) $(OURS)/python -m pytest

SUITE := tests/container/test_suite.py::test_the_smoke_suite_passes

.DEFAULT_GOAL := help
.PHONY: help install install-pipeline lock demo pipeline-dry pipeline-local certificate serve image run sbom test faults test-image test-images fuzz \
  bench bench-drift coverage acceptance check docs pictures format login push clean

help: ## List the commands
	@echo "Usage: make COMMAND [VARIABLE=value ...], for example: make serve PORT=8081"
	@echo "Variables in [brackets] are optional. The list below the commands explains all variables."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(call quoted,$(strip $(MAKEFILE_LIST)))
	@echo "Variables:"
	@sed -n 's/^#: /  /p' $(call quoted,$(strip $(MAKEFILE_LIST)))

install: $(INSTALLED) $(INSTALLED_MMS) ## Make .venv (serving, training, tests) and .venv-mms (Multi Model Server)

$(INSTALLED): pyproject.toml locks/packages.txt locks/install.py $(PROJECTS:%=%/pyproject.toml)
	@echo installing into $(call quoted,$(VENV)): about 2 GB, a few minutes
	$(PYTHON) -m venv $(call quoted,$(VENV))
	$(OURS)/python locks/install.py locks/packages.txt $(foreach project,. $(PROJECTS),--project $(call quoted,$(project)) --editable $(call quoted,$(project))) \
	  --extra torchserve --extra java --extra lambda --extra training --extra local --extra dev
	@touch $(call quoted,$@)

# Its own environment: the archivers of MMS and TorchServe install the same top-level module.
$(INSTALLED_MMS): pyproject.toml locks/packages.txt locks/install.py
	@echo installing into $(call quoted,$(VENV_MMS)): about 1 GB, a minute
	$(PYTHON) -m venv $(call quoted,$(VENV_MMS))
	$(call quoted,$(VENV_MMS)/bin/python) locks/install.py locks/packages.txt --project . --extra mms --extra java --editable .
	@touch $(call quoted,$@)

install-pipeline: $(INSTALLED_PIPELINE) ## Make .venv-pipeline (SageMaker SDK, for the pipeline and its local mode)

# What the extra `pipeline` names, and the package without what serving needs: the pipeline takes no torch.
$(INSTALLED_PIPELINE): pyproject.toml locks/pipeline.txt locks/install.py
	@echo installing into $(call quoted,$(VENV_PIPELINE)): about 1 GB, a few minutes
	$(PYTHON) -m venv $(call quoted,$(VENV_PIPELINE))
	$(PIPELINES) locks/install.py locks/pipeline.txt --editable . $(foreach part,sagemaker sagemaker-core sagemaker-mlops sagemaker-serve sagemaker-train,--requirement $(part))
	@touch $(call quoted,$@)

# uv only for this: pip cannot write the hashes of all files of a version, also those for other machines.
lock: ## Write locks/ with the hashes of all packages, after a change of constraints.txt or constraints-pipeline.txt
	$(PYTHON) -m venv $(call quoted,$(BUILD)/uv)
	$(call quoted,$(BUILD)/uv/bin/python) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(PYTHON) locks/write.py $(call quoted,$(BUILD)/uv/bin/uv) constraints.txt locks/packages.txt
	$(PYTHON) locks/write.py $(call quoted,$(BUILD)/uv/bin/uv) constraints-pipeline.txt locks/pipeline.txt

demo: $(INSTALLED) ## Train a model, export it, serve it and find drift [DATA WEIGHTS MODEL EPOCHS PORT QUICK]
	@exec $(OURS)/python -m driftserve_demo --output $(call quoted,$(BUILD)/demo) --port $(call quoted,$(PORT)) \
	  $(if $(DATA),--data $(call quoted,$(DATA))) $(if $(WEIGHTS),--weights $(call quoted,$(WEIGHTS))) \
	  $(if $(MODEL),--model $(call quoted,$(MODEL))) $(if $(EPOCHS),--epochs $(call quoted,$(EPOCHS))) $(if $(QUICK),--quick)

DRAWN := $(BUILD)/pipeline-data
LOCAL_RUN = --pipeline-python $(PIPELINES) --images $(call quoted,$(or $(DATA),$(DRAWN))) \
  $(if $(DATA),,--drawn) $(if $(WEIGHTS),--weights $(call quoted,$(WEIGHTS))) \
  $(foreach param,CodeRevision=$(REVISION) $(PARAMS),--param $(call quoted,$(param)))

pipeline-dry: $(INSTALLED) $(INSTALLED_PIPELINE) $(if $(DATA),,$(DRAWN)) ## Run the pipeline as local processes, without Docker or AWS [DATA WEIGHTS PARAMS AGAIN]
	$(OURS)/python -m driftserve_pipeline.local.processes --work $(call quoted,$(BUILD)/pipeline-dry) $(if $(AGAIN),--again) $(LOCAL_RUN)

pipeline-local: $(INSTALLED) $(INSTALLED_PIPELINE) $(if $(DATA),,$(DRAWN)) ## Run the pipeline in containers, after `make image` [DATA WEIGHTS PARAMS IMAGES_PER_CLASS]
	$(OURS)/python -m driftserve_pipeline.local.containers --work $(call quoted,$(BUILD)/pipeline-local) \
	  --docker $(call quoted,$(DOCKER)) --image-repository $(call quoted,$(IMAGE)) \
	  $(if $(IMAGES_PER_CLASS),--images-per-class $(call quoted,$(IMAGES_PER_CLASS))) $(LOCAL_RUN)

$(DRAWN):
	$(OURS)/python -c 'import pathlib, sys, driftserve_demo.synthetic as drawn; \
	  drawn.write_dataset(pathlib.Path(sys.argv[1]), {"train": 60, "val": 60, "test": 40})' $(call quoted,$@.part)
	@mv $(call quoted,$@.part) $(call quoted,$@)

certificate: $(INSTALLED) ## Export the demo's model again with the full drift certificate: DATA=folder
	@test -n $(call quoted,$(DATA)) || { echo "expected DATA=, the folder of images that the demo was given" >&2; exit 1; }
	$(OURS)/python -m driftserve_training export --trained $(call quoted,$(BUILD)/demo/training) --data $(call quoted,$(DATA)) \
	  --output $(call quoted,$(BUILD)/demo) --certificate full

serve: ## Serve an archive until Ctrl-C [ARCHIVE PORT SERVER]
	@test -e $(call quoted,$(SERVER_VENV)/.installed) || { echo "nothing is installed: run 'make install' first" >&2; exit 1; }
	@test -e $(call quoted,$(ARCHIVE)) || { printf "no archive at %s: run 'make demo' first, or give ARCHIVE=\n" $(call quoted,$(ARCHIVE)) >&2; exit 1; }
	@exec $(call quoted,$(SERVER_VENV)/bin/driftserve) serve $(call quoted,$(ARCHIVE)) --port $(call quoted,$(PORT)) --server $(call quoted,$(SERVER))

# Labels at the end, and not as arguments: another revision builds nothing again.
image: ## Build the Docker images driftserve:serving, :serving-mms, :lambda and :training [TARGETS]
	@for target in $(TARGET_WORDS); do \
	  $(DOCKER_BUILD) --target "$$target" --tag $(call quoted,$(IMAGE)):"$$target" \
	    --label org.opencontainers.image.version=$(VERSION) \
	    --label $(call quoted,org.opencontainers.image.revision=$(REVISION)) . \
	  || exit 1; done

run: ## Serve an archive with the Docker image driftserve:serving until Ctrl-C [ARCHIVE PORT]
	@test -d $(call quoted,$(ARCHIVE)) || { printf "no archive in a folder %s: run 'make demo' first, or give ARCHIVE=\n" $(call quoted,$(ARCHIVE)) >&2; exit 1; }
	@exec $(DOCKER) run --rm --publish $(call quoted,127.0.0.1:$(PORT):8080) \
	  --volume "$$(realpath -- $(call quoted,$(ARCHIVE)))":/opt/ml/model:ro $(call quoted,$(IMAGE):serving)

sbom: ## Write the software bill of materials of each Docker image to build/ [TARGETS]
	@mkdir -p $(call quoted,$(BUILD))
	@for target in $(TARGET_WORDS); do \
	  file=$(call quoted,$(BUILD)/sbom-)"$$target.cdx.json"; \
	  $(DOCKER) run --rm --entrypoint cat $(call quoted,$(IMAGE)):"$$target" /opt/driftserve/sbom.cdx.json > "$$file" \
	    && printf '%s\n' "$$file" || exit 1; done

test: $(INSTALLED) $(INSTALLED_MMS) ## Run all tests that this machine can run, except bench, faults, acceptance and test-images
	$(PYTEST) $(IN_PARALLEL) -m 'not acceptance and not faults and not bench and not image'

faults: $(INSTALLED) $(INSTALLED_MMS) ## Test both model servers under load with faults such as killed processes; 8 minutes [SHORT]
	$(PYTEST) -m 'faults$(if $(SHORT), and core)'

test-image: $(INSTALLED) ## Run the HTTP tests against Docker images that are already built [TARGETS]
	IMAGES=required $(PYTEST) $(foreach target,$(filter-out training,$(TARGETS)),$(call quoted,$(SUITE)[$(target)]))

test-images: $(INSTALLED) $(INSTALLED_PIPELINE) image ## Build all Docker images and run all their tests; 12 minutes
	IMAGES=required $(PYTEST) -m image

fuzz: $(INSTALLED) ## Run the fuzz tests with 10,000 generated inputs each; `make test` uses 100
	$(PYTEST) -m fuzz --hypothesis-profile=fuzz --timeout=3600

bench: $(INSTALLED) ## Measure what observing costs a request, memory for decoding, reading of training images
	$(PYTEST) -m bench --capture=no

bench-drift: $(INSTALLED) ## Measure the drift detector on real images, after `make demo`: DATA=folder [OOD]
	@test -n $(call quoted,$(DATA)) || { echo "expected DATA=, the folder of images that the demo was given" >&2; exit 1; }
	$(OURS)/python -m driftserve_benchmark --archive $(call quoted,$(BUILD)/demo/model) --data $(call quoted,$(DATA)) \
	  $(if $(OOD),--ood $(call quoted,$(OOD))) --cache $(call quoted,$(BUILD)/bench-drift)

coverage: $(INSTALLED) $(INSTALLED_MMS) ## Measure the branch coverage of driftserve, including its child processes
	@mkdir -p build/coverage && rm -f build/coverage/data*
	PYTHONDONTWRITEBYTECODE= $(OURS)/coverage run -m pytest $(IN_PARALLEL) \
	  -m 'not acceptance and not faults and not bench and not image' --ignore=tests/e2e
	$(OURS)/coverage combine --quiet
	$(OURS)/coverage report

acceptance: $(INSTALLED) ## Run the demo on real images (environment variable DRIFTSERVE_DATA) and check its targets
	$(PYTEST) -m acceptance --capture=no

check: $(INSTALLED) ## Check lint, format, types and which package may import which
	$(OURS)/ruff check .
	$(OURS)/ruff format --check .
	$(OURS)/mypy
	for project in . $(foreach project,$(PROJECTS),$(call quoted,$(project))); do \
	  $(OURS)/lint-imports --config "$$project/pyproject.toml" || exit 1; done

docs: $(INSTALLED) ## Generate the settings, metrics and HTTP API pages of docs/ from the code
	$(OURS)/python docs/generate.py

pictures: $(INSTALLED) ## Make docs/pictures again; also runs the demo, if it has not been recorded [AGAIN QUICK]
	$(OURS)/python -m driftserve_pictures --demo $(call quoted,$(BUILD)/demo) $(if $(AGAIN),--again)

format: $(INSTALLED) ## Format the code and fix lint where ruff can
	$(OURS)/ruff check --fix .
	$(OURS)/ruff format .

login: ## Log Docker in to the registry: REGISTRY=name
	@test -n $(call quoted,$(REGISTRY)) || { echo "expected REGISTRY=, as ACCOUNT.dkr.ecr.REGION.amazonaws.com" >&2; exit 1; }
	$(AWS) ecr get-login-password | $(DOCKER) login --username AWS --password-stdin $(call quoted,$(REGISTRY))

push: ## Push Docker images; list digests in imagedefinitions.json: REGISTRY=name [REPOSITORY TARGETS]
	$(PYTHON) container/push.py --docker $(call quoted,$(DOCKER)) --registry $(call quoted,$(REGISTRY)) --repository $(call quoted,$(REPOSITORY)) \
	  --image $(call quoted,$(IMAGE)) --revision $(call quoted,$(REVISION)) -- $(TARGET_WORDS)

clean: ## Remove build/, but keep the .venv folders
	@test $(call quoted,$(BUILD)) = build || { echo "expected BUILD=build, because clean removes the whole folder; remove another yourself" >&2; exit 1; }
	rm -rf build
