"""The observation channel under load, with real sender processes and a real monitor: nothing is lost.

As a program it is one sender: `python test_channel_load.py SOCKET DIGEST OBSERVATIONS_PER_SECOND SECONDS SEED`.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from driftserve.archive.contract import Contract, DriftPolicy
from driftserve.drift.features import feature_names
from driftserve.observations.channel import SOCKET_FILE, Sender
from driftserve.observations.observation import Observation
from driftserve.runtime.directory import write_contract
from driftserve.runtime.status import read_status
from processes import running, wait_for

DIGEST = "a" * 64
FEATURES = 27
SENDERS = 2
OBSERVATIONS_PER_SECOND = 250  # per sender


@pytest.mark.parametrize(
    ("seconds", "is_busy"),
    [
        pytest.param(3, False, id="3 s"),
        pytest.param(60, False, id="60 s", marks=pytest.mark.bench),
        pytest.param(60, True, id="60 s beside a process that burns a core", marks=pytest.mark.bench),
    ],
)
def test_500_observations_per_second_all_arrive(
    contract: Contract, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, seconds: int, is_busy: bool
) -> None:
    runtime_dir = tmp_path_factory.mktemp("r")
    names = feature_names(contract.labels, FEATURES - len(feature_names(contract.labels, 0)))
    reference = np.random.default_rng(0).normal(size=(FEATURES, 2000))
    update = {
        "drift": DriftPolicy(window_size=200),
        "reference": dict(zip(names, map(tuple, reference.tolist()), strict=True)),
    }
    write_contract(runtime_dir, DIGEST, contract.model_copy(update=update))
    environment = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir), "DRIFTSERVE_RECORD_DIR": str(tmp_path / "record")}
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if is_busy else None
    try:
        with running("driftserve", "monitor", environment=environment, log=tmp_path / "log"):
            wait_for(lambda: (runtime_dir / "status.json").exists())
            sent = _send_from_processes(runtime_dir, seconds)
            wait_for(lambda: read_status(runtime_dir)["models"][DIGEST]["observations"] >= sent, 10)
            status = read_status(runtime_dir)
    finally:
        if burner is not None:
            burner.kill()
            burner.wait()
    model = status["models"][DIGEST]
    assert sent == SENDERS * OBSERVATIONS_PER_SECOND * seconds
    assert (model["observations"], model["dropped"]) == (sent, 0)
    assert model["windows"] == sent // 200
    assert set(status["lost"].values()) == {0}


def _send_from_processes(runtime_dir: Path, seconds: int) -> int:
    """Run the senders to their end; return how many observations they sent."""
    options = [str(runtime_dir / SOCKET_FILE), DIGEST, str(OBSERVATIONS_PER_SECOND), str(seconds)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    senders = [
        subprocess.Popen([sys.executable, __file__, *options, str(seed)], env=environment, stdout=subprocess.PIPE)
        for seed in range(SENDERS)
    ]
    figures = [json.loads(sender.communicate()[0]) for sender in senders]
    print(figures)
    return sum(figure["sent"] for figure in figures)


def _send(path: Path, digest: str, per_second: int, seconds: int, seed: int) -> dict[str, float]:
    """Send one observation per server batch at a fixed rate; a late one does not delay the schedule of the next."""
    sender = Sender(path, digest)
    rows = np.random.default_rng(seed).normal(size=(per_second * seconds, FEATURES)).tolist()
    costs = []
    started = time.perf_counter()
    for index, row in enumerate(rows):
        time.sleep(max(0.0, started + index / per_second - time.perf_counter()))
        observation = Observation(200, {"decode": 1.1, "model": 4.2, "total": 6.3}, "red", 0.9, tuple(row))
        before = time.perf_counter()
        sender.send((observation,))
        costs.append(time.perf_counter() - before)
    for _ in range(50):  # like later requests: deliver waiting observations
        sender.send(())
        time.sleep(0.01)
    p50, p99 = np.percentile(costs, (50, 99)) * 1000
    return {"sent": len(rows), "p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


if __name__ == "__main__":
    socket_path, model, *numbers = sys.argv[1:]
    print(json.dumps(_send(Path(socket_path), model, *map(int, numbers))))
