import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from driftserve.archive.contract import Contract
from driftserve.archive.reading import read_contract, unpack_archive
from driftserve.host.ports import free_ports
from driftserve.host.stop import StopFlag
from driftserve.runtime.activity import BusyMark, Workers
from driftserve.servers.probe import GoldenProbe, PingProbe, ProbeThread, ask_until_right
from driftserve.settings import Settings
from processes import wait_for

QUICK = Settings(start_timeout_seconds=1, probe_interval_seconds=0.5, probe_timeout_seconds=0.5)


class FakeServer(ThreadingHTTPServer):
    """A server without a model: it sends the given answers in turn and repeats the last one."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.answers = list(answers)
        self.headers_seen: list[dict[str, str]] = []


class FakeHandler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_POST(self) -> None:
        self.server.headers_seen.append(dict(self.headers))
        self.rfile.read(int(self.headers["Content-Length"]))
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self.send_response(self.server.answers[0][0] if self.path == "/ping" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def model_dir(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    unpack_archive(archive, directory)
    return directory


@pytest.fixture
def right(archive: Path) -> dict[str, object]:
    """The right response to the first golden image."""
    sealed = read_contract(archive)
    return {"probabilities": dict(zip(sealed.labels, sealed.golden[0].probabilities, strict=True))}


@pytest.fixture
def one_golden(archive: Path) -> Contract:
    sealed = read_contract(archive)
    return sealed.model_copy(update={"golden": sealed.golden[:1]})


@pytest.fixture
def serve() -> Iterator[list[FakeServer]]:
    servers: list[FakeServer] = []
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def _started(servers: list[FakeServer], *answers: tuple[int, object]) -> FakeServer:
    server = FakeServer(*answers)
    servers.append(server)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def _images(contract: Contract, model_dir: Path) -> dict[str, bytes]:
    return {golden.file: (model_dir / golden.file).read_bytes() for golden in contract.golden}


def _probe(server: FakeServer, contract: Contract, model_dir: Path) -> GoldenProbe:
    return GoldenProbe("127.0.0.1", server.server_address[1], contract, _images(contract, model_dir))


def test_a_right_answer_is_accepted_and_the_probe_is_marked_as_a_test(
    serve: list[FakeServer], one_golden: Contract, model_dir: Path, right: dict[str, object]
) -> None:
    server = _started(serve, (200, right))
    assert _probe(server, one_golden, model_dir).ask(0, 1.0) is None
    assert server.headers_seen[0]["X-Amzn-SageMaker-Custom-Attributes"] == "driftserve-test=true"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, {"error": "x"}, "expected status 200, got 500"),
        (200, {"probabilities": {"red": 1.0, "green": 0.0, "blue": 0.0}}, "expected .* at .* within 0.001, got"),
        (200, {"probabilities": {"cat": 1.0}}, "expected the labels red, green, blue, got cat"),
        (200, {"probabilities": None}, "expected a prediction, got"),
        (200, ["hello"], "expected a prediction, got"),
    ],
)
def test_a_wrong_answer_is_a_problem(
    serve: list[FakeServer], one_golden: Contract, model_dir: Path, status: int, body: object, message: str
) -> None:
    server = _started(serve, (status, body))
    problem = _probe(server, one_golden, model_dir).ask(0, 1.0)
    assert problem is not None
    assert str(problem).startswith(one_golden.golden[0].file)
    assert re.search(message, str(problem))


def test_a_refused_connection_is_a_problem(one_golden: Contract, model_dir: Path) -> None:
    problem = GoldenProbe("127.0.0.1", free_ports(1)[0], one_golden, _images(one_golden, model_dir)).ask(0, 1.0)
    assert "expected an answer, got ConnectionRefusedError" in str(problem)


def test_an_overloaded_server_that_answers_one_of_three_probes_is_healthy(
    serve: list[FakeServer], one_golden: Contract, model_dir: Path, right: dict[str, object]
) -> None:
    server = _started(serve, (503, {}), (503, {}), (200, right))
    assert ask_until_right(_probe(server, one_golden, model_dir), 5.0, lambda: False) is None


def test_a_server_without_a_right_answer_fails_after_the_start_timeout(
    serve: list[FakeServer], one_golden: Contract, model_dir: Path, tmp_path: Path
) -> None:
    watch = ProbeThread(_probe(_started(serve, (500, {})), one_golden, model_dir), QUICK, Workers(tmp_path), StopFlag())
    watch.start()
    watch.join(10)
    assert "no correct answer in 1 s: golden-00.png: expected status 200, got 500" in str(watch.problem)


@pytest.mark.parametrize("status", [500, 503], ids=["wrong answers", "a full queue without active workers"])
def test_three_failed_probes_in_a_row_end_the_watch_with_a_problem(
    serve: list[FakeServer],
    one_golden: Contract,
    model_dir: Path,
    right: dict[str, object],
    tmp_path: Path,
    status: int,
) -> None:
    server = _started(serve, (200, right))
    watch = ProbeThread(_probe(server, one_golden, model_dir), QUICK, Workers(tmp_path), StopFlag())
    watch.start()
    wait_for(lambda: len(server.headers_seen) >= 2)
    server.answers[:] = [(status, {})]
    watch.join(10)
    assert "3 probes in a row failed" in str(watch.problem)


def test_the_watch_ends_when_the_server_is_stopped(
    serve: list[FakeServer], one_golden: Contract, model_dir: Path, right: dict[str, object], tmp_path: Path
) -> None:
    stop = StopFlag()
    watch = ProbeThread(_probe(_started(serve, (200, right)), one_golden, model_dir), QUICK, Workers(tmp_path), stop)
    watch.start()
    stop.set()
    watch.join(10)
    assert not watch.is_alive()
    assert watch.problem is None


def test_an_overloaded_server_is_healthy_while_its_workers_finish_requests(
    serve: list[FakeServer], one_golden: Contract, model_dir: Path, right: dict[str, object], tmp_path: Path
) -> None:
    server = _started(serve, (200, right))
    stop = StopFlag()
    watch = ProbeThread(_probe(server, one_golden, model_dir), QUICK, Workers(tmp_path), stop)
    watch.start()
    wait_for(lambda: watch.is_ready)
    server.answers[:] = [(503, {"error": "the queue is full"})]
    mark = BusyMark(tmp_path)
    for _ in range(60):  # longer than three probes take
        with mark:
            time.sleep(0.05)
    assert watch.is_alive()
    server.answers[:] = [(500, {"error": "a worker answers wrongly"})]
    for _ in range(200):
        with mark:
            time.sleep(0.05)
        if not watch.is_alive():
            break
    assert "3 probes in a row failed" in str(watch.problem)


def test_any_answer_to_a_ping_counts_as_alive(serve: list[FakeServer]) -> None:
    def ask(status: int) -> object:
        return PingProbe("127.0.0.1", _started(serve, (status, {})).server_address[1]).ask(0, 1.0)

    assert ask(200) is None
    assert ask(500) is None  # the workers of one model have failed
    assert "expected an answer" in str(PingProbe("127.0.0.1", free_ports(1)[0]).ask(0, 1.0))
