#!/bin/sh
# Finishes /opt/venv for an image: installs driftserve, deletes files that are not used, compiles bytecode. Writes
#   /opt/driftserve/sbom.cdx.json   the image's bill of materials
#   /opt/native                     the servers' native libraries, which they would unpack where execution is forbidden
set -eu
site=$(echo /opt/venv/lib/python3*/site-packages)

PIP_PYTHON= /opt/pip/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/ours .
/opt/pip/bin/pip install --no-compile --no-deps --no-index /tmp/ours/*.whl

[ -d "$site/driftserve_pipeline" ] || rm /opt/venv/bin/driftserve-pipeline  # its package is not in this image

mkdir -p /opt/driftserve /opt/native
/opt/pip/bin/cyclonedx-py environment --output-reproducible --output-file /tmp/python.json /opt/venv/bin/python
if [ -d "$site/ts" ] || [ -d "$site/mms" ]; then java=openjdk-17-jre-headless; fi
python3 container/sbom.py /tmp/python.json /base ${java:-} > /opt/driftserve/sbom.cdx.json

# Headers and tests: needed only by torch.compile's C++ and by the packages' developers.
rm -rf "$site"/torch/include "$site"/torch/share "$site"/torch/test /opt/venv/share /opt/venv/include
find "$site"/torch/testing/_internal -type f \
  ! -name __init__.py ! -name common_dtype.py ! -name logging_tensor.py -delete  # `import torch` needs these
find "$site"/torch/bin -type f ! -name torch_shm_manager -delete
find "$site"/numpy "$site"/scipy "$site"/sympy "$site"/networkx -type d -name tests \
  ! -path "*/numpy/_core/*" -prune -exec rm -rf {} +  # `numpy.testing` needs that one

# The descriptions of about 400 AWS services: keep the services that are called, and those that give credentials.
if [ -d pipeline ]; then registry='! -name sagemaker'; fi
find "$site"/botocore/data -mindepth 1 -maxdepth 1 -type d \
  ! -name cloudwatch ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin ${registry:-} -exec rm -rf {} +

for jar in "$site"/ts/frontend/model-server.jar "$site"/mms/frontend/*.jar; do
  [ -f "$jar" ] || continue
  (mkdir -p /tmp/jar && cd /tmp/jar && jar --extract --file "$jar" META-INF/native)
  find /tmp/jar -name "*$(uname -m | sed s/aarch64/aarch_64/).so" -exec cp {} /opt/native/ ';'
done

# Unchecked hashes instead of file times, because file times change between layers.
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$site"

/opt/venv/bin/python -c 'import driftserve.monitoring.process, driftserve.metrics.sinks.cloudwatch, driftserve.inference.verification'
if [ -d pipeline ]; then
  /opt/venv/bin/python -m driftserve_pipeline.steps --help > /dev/null
  /opt/venv/bin/python -c 'import boto3; boto3.client("sagemaker", region_name="eu-central-1")'
fi
