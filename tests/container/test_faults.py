"""Faults of running containers, as described in docs/docker.md, "What each fault costs".

Unless a test says otherwise, a container has two workers, a read-only root and 2 GB; four clients send requests
without pause.
"""

import base64
import json
import os
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from containers import docker, gateway, serving, tag
from driftserve.host.ports import free_ports
from fake_cloudwatch import fake_cloudwatch
from processes import wait_for
from request_load import Load, load
from sample_images import encode, scene

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]

SERVERS = ("serving", "serving-mms")
on_both_servers = pytest.mark.parametrize("target", SERVERS)


def _warm(seen: Load, answers: int = 200) -> None:
    wait_for(lambda: seen.answered() >= answers)


def _is_calm(seen: Load) -> bool:
    """Return whether the last 100 requests all succeeded."""
    return len(seen.outcomes) > 100 and all(outcome.status == 200 for outcome in seen.outcomes[-100:])


@on_both_servers
def test_a_killed_worker_fails_only_its_current_request(target: str, model_dir: Path, bodies: list[bytes]) -> None:
    with serving(tag(target), model_dir) as server:
        with load(server, bodies) as seen:
            _warm(seen)
            victim = server.workers()[0]
            server.kill(victim)
            wait_for(lambda: len(server.workers()) == 2 and victim not in server.workers())
            wait_for(lambda: _is_calm(seen))
        assert len(seen.failed()) <= 1
        assert {outcome.status for outcome in seen.failed()} <= {500, 503, 507}


@on_both_servers
def test_a_killed_jvm_ends_the_container(target: str, model_dir: Path, bodies: list[bytes]) -> None:
    with serving(tag(target), model_dir) as server:
        with load(server, bodies) as seen:
            _warm(seen)
            server.kill(server.find("/opt/jre/bin/java")[-1])
            assert server.wait(30) == 1
        assert "the model server ended with 137" in server.log().splitlines()[-1]


@on_both_servers
def test_a_killed_monitor_fails_no_request_and_restarts(target: str, model_dir: Path, bodies: list[bytes]) -> None:
    with serving(tag(target), model_dir) as server:
        with load(server, bodies) as seen:
            _warm(seen)
            server.kill(server.find("driftserve monitor")[0])
            wait_for(lambda: "the monitor ended with -9" in server.log())
            wait_for(lambda: "tiny/7" in server.status())
        assert seen.failed() == []


@on_both_servers
def test_sigterm_under_load_answers_all_requests_accepted_before_it(
    target: str, model_dir: Path, bodies: list[bytes]
) -> None:
    with serving(tag(target), model_dir, DRIFTSERVE_DRAIN_TIMEOUT_SECONDS="3") as server:
        with load(server, bodies, threads=16) as seen:
            _warm(seen)
            signalled_at = time.monotonic()
            server.signal("TERM")
            assert server.wait(30) == 0
        before = [outcome for outcome in seen.outcomes if outcome.began_at < signalled_at]
        assert [outcome.status for outcome in before] == [200] * len(before)
        assert any(outcome.ended_at > signalled_at for outcome in before)


@on_both_servers
def test_1000_hostile_requests_do_not_fail_others(target: str, model_dir: Path, bodies: list[bytes]) -> None:
    hostile = list(_hostile(1000))
    with serving(tag(target), model_dir) as server:
        workers = server.workers()
        with load(server, bodies, threads=2) as seen, ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda request: server.post(*request).status, hostile))
            wait_for(lambda: seen.answered() > 200)
        assert seen.failed() == []
        assert set(statuses) <= {400, 413, 415}, Counter(statuses)
        assert server.workers() == workers


def _hostile(number: int) -> Iterator[tuple[bytes, str]]:
    """Yield bodies that must be refused, with their content types, in turn from ten kinds."""
    generator = np.random.default_rng(7)
    png, jpeg = (encode(scene(generator), kind) for kind in ("PNG", "JPEG"))
    kinds = 10
    for index in range(number):
        noise = generator.bytes(int(generator.integers(0, 5000)))
        cut = int(generator.integers(20, len(png) - 100))
        yield (
            (b"", "image/png"),
            (b"\0" + noise, "image/jpeg"),
            (png[:cut], "image/png"),
            (jpeg[: len(jpeg) // 3], "image/jpeg"),
            (_bomb(int(generator.integers(9_000, 60_000))), "image/png"),
            (b"\x89PNG\r\n\x1a\n" + noise, "image/png"),
            (noise, "text/plain"),
            (b'{"instances":' * int(generator.integers(1, 5000)), "application/json"),
            (
                json.dumps({"instances": [{"b64": base64.b64encode(b"GIF89a" + noise[:99]).decode()}]}).encode(),
                "application/json",
            ),
            (
                b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><svg>&b;</svg>",
                "image/svg+xml",
            ),
        )[index % kinds]


def _bomb(side: int) -> bytes:
    """Return a PNG of side x side black pixels in a few kilobytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@on_both_servers
def test_a_full_queue_is_refused_at_once_and_recovers(target: str, model_dir: Path, bodies: list[bytes]) -> None:
    photo = encode(np.zeros((3000, 4000, 3), np.uint8))
    slow = json.dumps({"instances": [{"b64": base64.b64encode(photo).decode()}]}).encode()  # takes 0.1 s
    with serving(tag(target), model_dir) as server:
        with ThreadPoolExecutor(180) as pool:
            statuses = Counter(pool.map(lambda _: server.post(slow, "application/json").status, range(180)))
        assert set(statuses) == {200, 503}
        assert statuses[200] >= 100  # the size of the queue, plus requests in the workers
        assert [server.post(body).status for body in bodies] == [200] * len(bodies)
        assert server.is_running()


def test_a_minute_without_cloudwatch_fails_no_request_and_loses_no_metric(model_dir: Path, bodies: list[bytes]) -> None:
    host = gateway()
    (port,) = free_ports(1)
    aws = {
        "DRIFTSERVE_SINKS": "cloudwatch",
        "DRIFTSERVE_METRICS_PERIOD_SECONDS": "5",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    with serving(tag("serving"), model_dir, **aws) as server:
        with load(server, bodies) as seen:
            time.sleep(60)
        assert seen.failed() == []
        assert "cloudwatch: delivery failed 1 times in a row, retrying" in server.log()
        with fake_cloudwatch(port, host) as cloudwatch:

            def images() -> float:
                return sum(total for (name, *_), total in cloudwatch.sums().items() if name == "Images")

            wait_for(lambda: images() >= seen.answered(), 130)  # the longest retry delay is a minute
            assert images() == seen.answered()
            assert cloudwatch.sums()["LostMetrics", "cloudwatch"] == 0


@on_both_servers
def test_a_read_only_root_is_sufficient(target: str, model_dir: Path, bodies: list[bytes]) -> None:
    with serving(tag(target), model_dir) as server:
        assert docker("inspect", "--format", "{{.HostConfig.ReadonlyRootfs}}", server.id) == "true"
        with load(server, bodies) as seen:
            _warm(seen, 500)
        assert seen.failed() == []
        wait_for(lambda: "tiny/7" in server.status())
        # Docker creates the mount point of the model; nothing else has changed.
        assert {line.split()[1] for line in docker("diff", server.id).splitlines()} <= {
            "/opt",
            "/opt/ml",
            "/opt/ml/model",
        }


@on_both_servers
def test_large_images_fit_into_two_gigabytes(target: str, model_dir: Path, bodies: list[bytes]) -> None:
    large = encode(np.zeros((7000, 7100, 3), np.uint8), "JPEG")  # 49.7 megapixels, the limit is 50
    with serving(tag(target), model_dir) as server:
        workers = server.workers()
        with load(server, bodies, threads=2) as seen, ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: server.post(large, "image/jpeg").status, range(24)))
        assert statuses == [200] * 24
        assert seen.failed() == []
        assert server.workers() == workers


def test_a_worker_without_enough_memory_fails_only_its_own_request(model_dir: Path, bodies: list[bytes]) -> None:
    large = encode(np.zeros((7000, 7100, 3), np.uint8), "JPEG")
    little = ("--memory", "850m", "--memory-swap", "850m")
    with serving(tag("serving"), model_dir, *little) as server:
        with ThreadPoolExecutor(2) as pool:
            statuses = set(pool.map(lambda _: server.post(large, "image/jpeg").status, range(2)))
        assert statuses <= {200, 500, 503, 507}
        wait_for(lambda: len(server.workers()) == 2)
        assert [server.post(body).status for body in bodies] == [200] * len(bodies)
        assert server.is_running(), os.linesep.join(server.log().splitlines()[-5:])
