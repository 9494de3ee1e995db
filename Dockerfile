# Builds driftserve's images, one per target: serving (the default), serving-mms, lambda, training. `make image` builds all.
#
#   docker build --tag driftserve:serving .
#   docker build --target training --build-arg PIP_EXTRA_INDEX_URL= .
#
# PIP_EXTRA_INDEX_URL selects torch's build: PyTorch's CPU index (the default), or empty for pip's index, with CUDA.
# Behind a proxy, give the secrets `pip.conf` and `ca.crt`, or an image of wheels; all are optional.
ARG BASE=debian:bookworm-slim
ARG WHEELS=scratch

FROM ${WHEELS} AS wheels

# --- the base of every image: Debian's Python, a user, no compiler, no pip ----------------------------------------
# procps has `kill`, with which TorchServe ends workers; without it a model can be neither unloaded nor rejected.
FROM ${BASE} AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates procps python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
 && useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin driftserve
# Bytecode is compiled at build time, and the root may be read-only. Nothing is imported from the current directory.
ENV PATH=/opt/venv/bin:/opt/jre/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8
LABEL org.opencontainers.image.title="driftserve" \
      org.opencontainers.image.description="TorchScript image classifiers that watch their own traffic for drift" \
      org.opencontainers.image.licenses="Apache-2.0"

# --- the build stages, which are not part of any image ------------------------------------------------------------
FROM base AS build
RUN mkdir -p /usr/share/man/man1 \
 && apt-get update \
 && apt-get install --yes --no-install-recommends openjdk-17-jdk-headless binutils python3-venv \
 && python3 -m venv /opt/pip \
 && python3 -m venv --without-pip /opt/venv
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_COMPILE=0 PIP_PYTHON=/opt/venv/bin/python
WORKDIR /src
COPY locks locks
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    /opt/pip/bin/python locks/install.py locks/packages.txt \
 && PIP_PYTHON= PIP_EXTRA_INDEX_URL= /opt/pip/bin/pip install --require-hashes --constraint locks/packages.txt \
    cyclonedx-bom hatchling
# Only the files that name the dependencies, so that a change of code does not install the dependencies again.
COPY pyproject.toml ./
COPY handler/driftserve/__init__.py handler/driftserve/
RUN touch README.md

# A Java with only the modules that the two servers use.
FROM build AS java
RUN jlink --add-modules java.base,java.desktop,java.logging,java.management,java.naming,java.sql,java.xml,jdk.unsupported \
    --strip-debug --no-man-pages --no-header-files --compress=2 --output /opt/jre

FROM build AS serving-build
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    /opt/pip/bin/python locks/install.py locks/packages.txt --project . --extra torchserve \
 && /opt/pip/bin/pip uninstall --yes setuptools wheel  # torch asks for them to compile extensions with
COPY handler handler
COPY README.md LICENSE ./
COPY container/finish.sh container/sbom.py container/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=base,target=/base \
    sh container/finish.sh

FROM build AS serving-mms-build
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    /opt/pip/bin/python locks/install.py locks/packages.txt --project . --extra mms
COPY handler handler
COPY README.md LICENSE ./
COPY container/finish.sh container/sbom.py container/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=base,target=/base \
    sh container/finish.sh

FROM build AS lambda-build
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    /opt/pip/bin/python locks/install.py locks/packages.txt --project . --extra lambda
COPY handler handler
COPY README.md LICENSE ./
COPY container/finish.sh container/sbom.py container/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=base,target=/base \
    sh container/finish.sh

FROM build AS training-build
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    /opt/pip/bin/python locks/install.py locks/packages.txt --project . --extra training
COPY handler handler
COPY training training
COPY pipeline pipeline
COPY README.md LICENSE ./
COPY container/finish.sh container/sbom.py container/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels --mount=type=bind,from=base,target=/base \
    sh container/finish.sh

# --- the images ---------------------------------------------------------------------------------------------------
FROM base AS training
COPY --from=training-build /opt/venv /opt/venv
COPY --from=training-build /opt/driftserve /opt/driftserve
COPY --chmod=755 container/train.py /usr/local/bin/train
# With these variables NVIDIA's container runtime gives the image access to the GPUs.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# Runs as root: SageMaker mounts /opt/ml for root, and a training job serves no requests.
WORKDIR /opt/ml
CMD ["train"]

# Users add an archive: `FROM driftserve:lambda`, `COPY scenes.mar /opt/ml/model/`.
FROM base AS lambda
COPY --from=lambda-build /opt/venv /opt/venv
COPY --from=lambda-build /opt/driftserve /opt/driftserve
USER 10001
WORKDIR /tmp
ENTRYPOINT ["/opt/venv/bin/python", "-m", "awslambdaric"]
CMD ["driftserve.adapters.aws_lambda.handle"]

FROM base AS server
COPY --from=java /opt/jre /opt/jre
ENV JAVA_HOME=/opt/jre DRIFTSERVE_HOST=0.0.0.0
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
USER 10001
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/driftserve"]
CMD ["serve"]

FROM server AS serving-mms
COPY --from=serving-mms-build /opt/native /usr/lib/jni
COPY --from=serving-mms-build /opt/driftserve /opt/driftserve
COPY --from=serving-mms-build /opt/venv /opt/venv
ENV DRIFTSERVE_SERVER=mms

FROM server AS serving
COPY --from=serving-build /opt/native /usr/lib/jni
COPY --from=serving-build /opt/driftserve /opt/driftserve
COPY --from=serving-build /opt/venv /opt/venv
LABEL com.amazonaws.sagemaker.capabilities.multi-models=true
