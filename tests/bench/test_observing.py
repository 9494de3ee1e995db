"""Benchmark: how much observing slows down a request, measured with and without it in turn, in one process."""

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from driftserve.archive.contract import Contract, GoldenImage, ImageSpec
from driftserve.drift.features import feature_names
from driftserve.inference.model import Model, load_graph
from driftserve.inference.service import Request, RequestLimits, Service
from driftserve.observations.channel import SOCKET_FILE, Sender
from driftserve.observations.observation import Observation
from driftserve.runtime.directory import write_contract
from processes import wait_for
from sample_images import encode, scene

pytestmark = pytest.mark.bench

LABELS = ("buildings", "forest", "glacier", "mountain", "sea", "street")
EMBEDDING_SIZE = 16
REQUESTS = 1_500
DIGEST = "0" * 64


class SixClasses(torch.nn.Module):
    """A graph with the output sizes of the reference task that computes almost nothing."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = pixels.float().mean(dim=(2, 3)) / 64  # (N, 3)
        return torch.cat([means, -means], 1), means.repeat(1, 6)[:, :16]


@pytest.mark.parametrize("side", [128, 224])
def test_observing_adds_little_latency_to_a_request(
    side: int, contract: Contract, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime_dir = tmp_path_factory.mktemp("e")
    graph = runtime_dir / "model.pt"
    torch.jit.script(SixClasses()).save(str(graph))
    names = feature_names(LABELS, EMBEDDING_SIZE)
    generator = np.random.default_rng(1)
    wide = contract.model_copy(
        update={
            "labels": LABELS,
            "image_spec": ImageSpec(height=side, width=side, resize_shorter_side=side, interpolation="bilinear"),
            "embedding_size": EMBEDDING_SIZE,
            "golden": (GoldenImage(file="golden-00.png", label="sea", probabilities=(0, 0, 0, 0, 1, 0)),),
            "reference": {name: tuple(generator.normal(size=1200).tolist()) for name in names},
        }
    )
    write_contract(runtime_dir, DIGEST, wide)
    monitor = subprocess.Popen(
        [sys.executable, "-m", "driftserve", "monitor"],
        env=os.environ
        | {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir), "DRIFTSERVE_SINKS": "none", "DRIFTSERVE_LOG_LEVEL": "ERROR"},
    )
    try:
        wait_for((runtime_dir / SOCKET_FILE).exists)
        with_ms, without_ms, sending_ms = _measure(wide, load_graph(graph, wide.image_spec), runtime_dir)
    finally:
        monitor.send_signal(signal.SIGTERM)
        monitor.wait(20)
    observing = statistics.median(with_ms) - statistics.median(without_ms)
    sending = statistics.median(sending_ms)
    with capsys.disabled():
        print(f"\n{side}x{side}: observing costs {observing:.3f} ms at p50, of which sending takes {sending:.3f} ms")
    assert observing <= 0.6
    assert sending <= 0.2


def _measure(contract: Contract, model: Model, runtime_dir: Path) -> tuple[list[float], list[float], list[float]]:
    sender = Sender(runtime_dir / SOCKET_FILE, DIGEST)
    sending_ms: list[float] = []

    def observe(observations: tuple[Observation, ...]) -> None:
        began_at = time.perf_counter()
        sender.send(observations)
        sending_ms.append((time.perf_counter() - began_at) * 1000)

    services = [Service(contract, model, watch, RequestLimits()) for watch in (observe, None)]
    generator = np.random.default_rng(2)
    images = [encode(scene(generator), "JPEG") for _ in range(20)]
    took_ms: tuple[list[float], list[float]] = ([], [])
    for number in range(REQUESTS):
        request = Request(images[number % len(images)], "image/jpeg", str(number))
        for service, times in zip(services, took_ms, strict=True):
            began_at = time.perf_counter()
            (response,) = service.predict([request])
            times.append((time.perf_counter() - began_at) * 1000)
            assert response.status == 200
    return took_ms[0], took_ms[1], sending_ms
