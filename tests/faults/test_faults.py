"""Faults of real servers under load: what is lost, and what is not.

docs/operations.md describes the same faults. `make faults` runs these tests.
"""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import urllib3

from driftserve.errors import MonitorNotFound
from driftserve.host.ports import free_ports
from fake_cloudwatch import fake_cloudwatch
from model_servers import SERVERS, Endpoint, free_port, python_of, seen_by, started
from processes import is_alive, wait_for
from request_load import Load, Outcome, load
from sample_images import encode, scene

pytestmark = [pytest.mark.faults, pytest.mark.parametrize("server", SERVERS)]

WORKERS = 2
BACKLOG = 256  # observations that a worker keeps while the monitor does not receive them
Place = Callable[[], tuple[Path, Path]]


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    generator = np.random.default_rng(3)
    return [encode(scene(generator)) for _ in range(50)]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A function that creates a runtime directory with a short path and chooses a log file."""
    return lambda: (tmp_path_factory.mktemp("e"), tmp_path_factory.mktemp("log") / "log")


def _warm(seen: Load, answers: int = 200) -> None:
    wait_for(lambda: seen.answered() >= answers)


def _recovered(seen: Load) -> None:
    """Wait until the last 100 requests all succeeded."""

    def is_calm() -> bool:
        last = seen.outcomes[-100:]
        return len(seen.outcomes) > 100 and all(outcome.status == 200 for outcome in last)

    time.sleep(0.5)
    wait_for(is_calm)


@pytest.mark.core
def test_a_killed_worker_fails_only_its_current_request(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    with started(archive, *place(), server) as endpoint:
        with load(endpoint, bodies) as seen:
            _warm(seen)
            victim = endpoint.workers()[0]
            victim.kill()
            wait_for(lambda: not is_alive(victim))
            _recovered(seen)
            wait_for(lambda: len(endpoint.workers()) == WORKERS)
        assert len(seen.failed()) <= 1  # a worker handles one request at a time
        assert {outcome.status for outcome in seen.failed()} <= {500, 503, 507}
        # Its undelivered observations are lost; and it may have been killed after observing, before responding.
        assert seen.answered() - BACKLOG <= endpoint.observations() <= seen.answered() + len(seen.failed())


@pytest.mark.core
def test_a_killed_monitor_loses_its_window_and_fails_no_request(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    with started(archive, *place(), server, DRIFTSERVE_METRICS_PERIOD_SECONDS="3600") as endpoint:
        with load(endpoint, bodies) as seen:
            _warm(seen)
            endpoint.monitor().kill()
            killed_at = time.monotonic()

            def is_back() -> bool:
                try:
                    return "monitor ended with -9" in endpoint.log.read_text() and bool(endpoint.status())
                except MonitorNotFound:
                    return False

            wait_for(is_back)
            _warm(seen, seen.answered() + 200)
        assert seen.failed() == []
        after = sum(outcome.ended_at > killed_at for outcome in seen.outcomes)
        # The new monitor counts from zero: the observations of the dead one are lost, and the ten datagrams that the
        # kernel had queued for it. Observations from the time without a monitor waited in the workers or are counted.
        observations = endpoint.observations()
        assert after - 16 <= observations + int(str(endpoint.status()["dropped"])) < seen.answered()
        # The same holds for metrics: nobody reports the sums of the dead monitor's period.
        os.kill(endpoint.process.pid, signal.SIGTERM)
        assert endpoint.process.wait(30) == 0
        assert _images(endpoint.log) == observations


def _images(log: Path) -> int:
    """Return the sum of the metric `Images` in the log."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return int(sum(line.get("metrics", {}).get("Images", 0) for line in lines))


def test_a_frozen_monitor_loses_observations_and_fails_no_request(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    with started(archive, *place(), server) as endpoint:
        monitor = endpoint.monitor()
        with load(endpoint, bodies) as seen:
            _warm(seen)
            monitor.suspend()
            time.sleep(30)
            monitor.resume()
            _warm(seen, seen.answered() + 400)
        assert seen.failed() == []
        # A worker reports its last drops with its next observation, and any worker may handle a request.
        assert any(_is_settled(endpoint, bodies[0], seen) for _ in range(8))
        assert int(str(endpoint.status()["dropped"])) > 0


def _is_settled(endpoint: Endpoint, body: bytes, seen: Load) -> bool:
    """Send four requests; return whether every answered request was then observed or counted as dropped."""
    for _ in range(4):
        began_at = time.monotonic()
        status = endpoint.post(body).status
        seen.outcomes.append(Outcome(began_at, time.monotonic(), status))
    try:
        return wait_for(lambda: _observed_or_dropped(endpoint) == seen.answered(), 5)
    except AssertionError:
        return False


def _observed_or_dropped(endpoint: Endpoint) -> int:
    status = endpoint.status()
    return seen_by(status) + int(str(status["dropped"]))


@pytest.mark.core
def test_a_killed_jvm_ends_the_container(server: str, archive: Path, place: Place, bodies: list[bytes]) -> None:
    with started(archive, *place(), server) as endpoint:
        children = endpoint.descendants()
        with load(endpoint, bodies) as seen:
            _warm(seen)
            endpoint.jvm().kill()
            assert endpoint.process.wait(30) == 1
        assert not any(is_alive(child) for child in children)
        assert "the model server ended with 137" in endpoint.log.read_text().splitlines()[-1]


@pytest.mark.core
def test_sigterm_under_load_answers_all_requests_accepted_before_it(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    with started(archive, *place(), server, DRIFTSERVE_DRAIN_TIMEOUT_SECONDS="3") as endpoint:
        with load(endpoint, bodies, threads=16) as seen:
            _warm(seen)
            signalled_at = time.monotonic()
            os.kill(endpoint.process.pid, signal.SIGTERM)
            time.sleep(0.3)
            os.kill(endpoint.process.pid, signal.SIGTERM)
            assert endpoint.process.wait(30) == 0
        before = [outcome for outcome in seen.outcomes if outcome.began_at < signalled_at]
        assert [outcome.status for outcome in before] == [200] * len(before)
        assert any(outcome.ended_at > signalled_at for outcome in before)  # some were in progress


def test_sigterm_waits_for_the_replacement_of_a_dead_worker(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    with started(archive, *place(), server, DRIFTSERVE_WORKERS="1") as endpoint, ThreadPoolExecutor(4) as pool:
        endpoint.workers()[0].kill()
        time.sleep(0.1)
        answers = [pool.submit(endpoint.post, body) for body in bodies[:4]]
        time.sleep(0.3)  # now they are in the server's queue
        os.kill(endpoint.process.pid, signal.SIGTERM)
        assert endpoint.process.wait(30) == 0
        statuses = [answer.result().status for answer in answers]
    assert statuses.count(200) >= 3  # the server may have sent one to the dead worker
    assert set(statuses) <= {200, 500, 503, 507}


def test_sigterm_waits_for_a_long_request_but_not_longer(server: str, archive: Path, place: Place) -> None:
    body = _instances(encode(np.zeros((3000, 4000, 3), np.uint8)), 20)  # takes a few seconds to decode
    with started(archive, *place(), server) as endpoint, ThreadPoolExecutor() as pool:
        began_at = time.monotonic()
        answer = pool.submit(endpoint.post, body, "application/json")
        time.sleep(0.7)
        assert not answer.done()
        os.kill(endpoint.process.pid, signal.SIGTERM)
        assert answer.result().status == 200
        took = time.monotonic() - began_at
        assert took > 1.5  # longer than the idle time that ends draining
        assert endpoint.process.wait(30) == 0
        assert time.monotonic() - began_at < took + 8


def test_a_burst_of_large_photos_is_answered(server: str, archive: Path, place: Place, bodies: list[bytes]) -> None:
    photo = b"no image, but as large as one" * 180_000  # 5 MB
    with started(archive, *place(), server) as endpoint:
        with ThreadPoolExecutor(60) as pool:
            statuses = list(pool.map(lambda _: endpoint.post(photo).status, range(60)))
        assert statuses == [400] * 60
        assert endpoint.post(bodies[0]).status == 200


def test_a_request_with_slow_images_blocks_a_worker_for_a_limited_time(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    slow = _instances(encode(np.zeros((7000, 7000, 3), np.uint8)), 64)  # 0.3 s per image
    with started(archive, *place(), server, DRIFTSERVE_WORKERS="1") as endpoint:
        began_at = time.monotonic()
        response = endpoint.post(slow, "application/json")
        assert response.status == 200
        assert time.monotonic() - began_at < 20
        errors = [item["error"]["type"] for item in json.loads(response.data)["predictions"] if "error" in item]
        assert set(errors) == {"RequestTooLarge"}
        assert endpoint.post(bodies[0]).status == 200


def test_a_batch_of_requests_with_slow_images_delays_others_for_a_limited_time(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    if server == "mms":
        pytest.skip("with MMS, a batch is one request")
    slow = _instances(encode(np.zeros((7000, 7000, 3), np.uint8)), 20)  # 0.3 s per image
    settings = {"DRIFTSERVE_WORKERS": "1", "DRIFTSERVE_BATCH_SIZE": "16", "DRIFTSERVE_MAX_BATCH_DELAY_MS": "500"}
    with started(archive, *place(), server, **settings) as endpoint, ThreadPoolExecutor(16) as pool:
        began_at = time.monotonic()
        answers = pool.map(lambda _: endpoint.post(slow, "application/json").status, range(15))
        assert endpoint.post(bodies[0]).status == 200
        assert time.monotonic() - began_at < 40  # 15 times 20 images take 90 s on an idle machine
        assert set(answers) <= {200, 413}


def _instances(image: bytes, number: int) -> bytes:
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}] * number}).encode()


def test_a_killed_guard_leaves_no_process_behind(server: str, archive: Path, place: Place) -> None:
    with started(archive, *place(), server) as endpoint:
        children = endpoint.descendants()
        next(child for child in children if "driftserve.host.guard" in child.cmdline()).kill()
        assert endpoint.process.wait(30) == 1
        assert not any(is_alive(child) for child in children)


def test_an_idle_server_stops_at_once(server: str, archive: Path, place: Place) -> None:
    with started(archive, *place(), server) as endpoint:
        began_at = time.monotonic()
        os.kill(endpoint.process.pid, signal.SIGTERM)
        assert endpoint.process.wait(30) == 0
        assert time.monotonic() - began_at < 8


def test_an_unreachable_cloudwatch_fails_no_request(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    (closed,) = free_ports(1)
    with started(archive, *place(), server, **_aws(f"http://127.0.0.1:{closed}")) as endpoint:
        _some_periods_of_load(endpoint, bodies)
    assert re.search(r"cloudwatch: \d+ metrics lost at shutdown", endpoint.log.read_text())


def test_a_throttling_cloudwatch_loses_nothing(server: str, archive: Path, place: Place, bodies: list[bytes]) -> None:
    with fake_cloudwatch() as cloudwatch:
        cloudwatch.script += ["throttle", "unavailable", "throttle"]
        with started(archive, *place(), server, **_aws(cloudwatch.url)) as endpoint:
            answered = _some_periods_of_load(endpoint, bodies)
        images = sum(total for (name, *_), total in cloudwatch.sums().items() if name == "Images")
        assert images == answered


def _some_periods_of_load(endpoint: Endpoint, bodies: list[bytes]) -> int:
    """Run some periods under load and stop the server; return the number of answered requests."""
    with load(endpoint, bodies) as seen:
        _warm(seen, 500)
        time.sleep(3)
    assert seen.failed() == []
    assert endpoint.observations() == seen.answered()
    os.kill(endpoint.process.pid, signal.SIGTERM)
    assert endpoint.process.wait(30) == 0
    return seen.answered()


def _aws(url: str) -> dict[str, str]:
    return {
        "DRIFTSERVE_SINKS": "cloudwatch",
        "DRIFTSERVE_METRICS_PERIOD_SECONDS": "1",
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


@pytest.mark.core
def test_files_that_a_cleaner_removes_cost_nothing(
    server: str, archive: Path, place: Place, bodies: list[bytes]
) -> None:
    settings = {"DRIFTSERVE_PROBE_INTERVAL_SECONDS": "1", "DRIFTSERVE_WORKERS": "1"}
    with started(archive, *place(), server, **settings) as endpoint:
        sent = [endpoint.post(body).status for body in bodies[:10]]
        assert endpoint.observations() == 10
        (worker,) = endpoint.workers()
        model = endpoint.runtime_dir / "store" / "model" / "model.pt"
        time.sleep(2)  # the supervisor looks after the files once a second from the moment when the server is ready
        for path in sorted(endpoint.runtime_dir.rglob("*")):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
        wait_for(lambda: model.exists() and (endpoint.runtime_dir / "status.json").exists())
        sent += [endpoint.post(body).status for body in bodies[10:20]]
        assert endpoint.observations() == 20
        worker.kill()
        wait_for(lambda: len(endpoint.workers()) == 1)
        wait_for(lambda: endpoint.post(bodies[20]).status == 200)
        assert endpoint.process.poll() is None
        os.kill(endpoint.process.pid, signal.SIGTERM)
        assert endpoint.process.wait(30) == 0
        assert sent == [200] * 20
        assert "probes in a row" not in endpoint.log.read_text()
        assert "requests are still running" not in endpoint.log.read_text()


def test_two_servers_count_separately(server: str, archive: Path, place: Place, bodies: list[bytes]) -> None:
    with started(archive, *place(), server) as one, started(archive, *place(), server) as other:
        with load(one, bodies) as first, load(other, bodies, threads=1) as second:
            _warm(first)
            _warm(second)
        assert first.failed() == second.failed() == []
        assert (one.observations(), other.observations()) == (first.answered(), second.answered())


def test_frozen_workers_end_the_container(server: str, archive: Path, place: Place) -> None:
    probes = {"DRIFTSERVE_PROBE_INTERVAL_SECONDS": "1", "DRIFTSERVE_PROBE_TIMEOUT_SECONDS": "1"}
    with started(archive, *place(), server, **probes) as endpoint:
        for worker in endpoint.workers():
            worker.suspend()
        assert endpoint.process.wait(30) == 1
        assert "3 probes in a row failed" in endpoint.log.read_text().splitlines()[-1]


@pytest.mark.core
def test_a_killed_supervisor_leaves_no_process_behind(server: str, archive: Path, place: Place) -> None:
    with started(archive, *place(), server) as endpoint:
        children = endpoint.descendants()
        assert len(children) >= 5  # the monitor, the guard, the JVM, its workers
        endpoint.process.kill()
        wait_for(lambda: not any(is_alive(child) for child in children), 20)


def test_workers_that_crash_in_a_loop_end_the_container(server: str, archive: Path, tmp_path: Path) -> None:
    # The server still answers /ping with 200: only a probe notices.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif any('model_service_worker' in text for text in sys.orig_argv): raise SystemExit(1)\n"
    )
    settings = {"PYTHONPATH": str(tmp_path), "DRIFTSERVE_START_TIMEOUT_SECONDS": "10", "DRIFTSERVE_WORKERS": "1"}
    port = free_port(server)
    with subprocess.Popen(
        [python_of(server), "-m", "driftserve", "serve", str(archive), "--port", str(port), "--server", server],
        env=os.environ | settings,
        stderr=(tmp_path / "log").open("wb"),
    ) as process:

        def ping() -> int:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                return urllib3.request("GET", f"http://127.0.0.1:{port}/ping", retries=False).status
            return 0

        pings = []
        seen: set[psutil.Process] = set()
        while process.poll() is None:
            pings.append(ping())
            with contextlib.suppress(psutil.NoSuchProcess):
                seen |= set(psutil.Process(process.pid).children(recursive=True))
            time.sleep(0.1)
    assert process.returncode == 1
    assert 200 in pings or server == "mms"  # MMS may not get far enough to answer
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert re.match(r"driftserve: no correct answer in 10 s: golden-\d\d\.png: expected", last), last
    assert len(seen) >= 3
    assert not any(is_alive(child) for child in seen)
