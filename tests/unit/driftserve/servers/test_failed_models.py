"""The cleaner unregisters models that a multi-model server could not load, forgets unloaded ones, keeps all others."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from driftserve.archive.contract import Contract
from driftserve.archive.served import served_key
from driftserve.host.stop import StopFlag
from driftserve.runtime.directory import known_keys, unloaded_keys, write_contract
from driftserve.servers.failed_models import FailedModelCleaner
from processes import wait_for

PAGE = 2


class FakeTorchServe(ThreadingHTTPServer):
    """Lists (in pages of two), describes and unregisters models like TorchServe 0.12.

    `models` maps a name to its maxWorkers and the state of its worker, None without a worker.
    """

    def __init__(self, **models: tuple[int, str | None]) -> None:
        super().__init__(("127.0.0.1", 0), FakeManagement)
        self.models = models
        self.unlisted: set[str] = set()  # as if they had changed their places between two pages
        self.described: list[str] = []
        self.lists = 0


class FakeManagement(BaseHTTPRequestHandler):
    server: FakeTorchServe

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        models = self.server.models
        if path == "/models":
            start = int(query.partition("next_page_token=")[2])
            self.server.lists += start == 0
            listed: dict[str, object] = {
                "models": [
                    {"modelName": name}
                    for name in sorted(models)[start : start + PAGE]
                    if name not in self.server.unlisted
                ]
            }
            more = {"nextPageToken": str(start + PAGE)} if start + PAGE < len(models) else {}
            return self._answer(200, listed | more)
        name = unquote(path.removeprefix("/models/"))
        self.server.described.append(name)
        if name not in models:
            return self._answer(404, {"code": 404})
        most, state = models[name]
        workers = [{"id": "9000", "status": state}] if state else []
        return self._answer(200, [{"modelName": name, "maxWorkers": most, "workers": workers}])

    def do_DELETE(self) -> None:
        del self.server.models[self.path.removeprefix("/models/")]
        self._answer(200, {"status": "unregistered"})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


WELL = (1, "READY")
LOADING = (1, "UNLOADING")
FAILED = (0, None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeTorchServe]:
    stop = StopFlag()
    with FakeTorchServe(a=WELL, b=WELL, c=FAILED, d=LOADING, e=FAILED) as fake:
        threading.Thread(target=fake.serve_forever, args=(0.02,), daemon=True).start()
        thread = FailedModelCleaner("127.0.0.1", fake.server_address[1], tmp_path / "store", stop)
        thread.start()
        yield fake
        stop.set()
        thread.join()
        fake.shutdown()


def test_a_model_that_stays_without_workers_is_unregistered(server: FakeTorchServe) -> None:
    wait_for(lambda: set(server.models) == {"a", "b", "d"}, 10)


def test_a_model_that_starts_to_load_is_kept_until_it_fails(server: FakeTorchServe) -> None:
    wait_for(lambda: set(server.models) == {"a", "b", "d"}, 10)
    server.models["new"] = FAILED  # registered, its workers are not requested yet
    wait_for(lambda: "new" in server.described, 10)
    server.models["new"] = LOADING  # before the next check
    lists = server.lists
    wait_for(lambda: server.lists >= lists + 4, 10)
    assert "new" in server.models
    server.models["new"] = FAILED
    wait_for(lambda: "new" not in server.models, 2)


def test_a_healthy_model_is_described_only_once(server: FakeTorchServe) -> None:
    wait_for(lambda: server.lists >= 6, 10)
    assert server.described.count("a") == 1


def test_one_of_the_names_of_an_archive_is_forgotten_when_it_is_unloaded(tmp_path: Path, contract: Contract) -> None:
    names = ("day", "night", "a shift/2", "long" * 99)
    keys = {name: served_key("d" * 64, name) for name in names}
    for key in keys.values():
        write_contract(tmp_path, key, contract)
    stop = StopFlag()
    with FakeTorchServe(**dict.fromkeys(names, WELL)) as fake:
        threading.Thread(target=fake.serve_forever, args=(0.02,), daemon=True).start()
        thread = FailedModelCleaner("127.0.0.1", fake.server_address[1], tmp_path / "store", stop, 0.005)
        thread.start()
        fake.unlisted.add("day")
        wait_for(lambda: fake.described.count("day") >= 3, 20)  # asked, since it may be only missing in the list
        assert known_keys(tmp_path) == set(keys.values())
        fake.models = {"day": WELL}
        wait_for(lambda: known_keys(tmp_path) == {keys["day"]}, 20)
        assert unloaded_keys(tmp_path) == {keys[name] for name in names[1:]}
        stop.set()
        thread.join()
        fake.shutdown()
