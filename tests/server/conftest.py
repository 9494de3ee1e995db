"""One running server of each kind for all endpoint tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers import SERVERS, Endpoint, started


@contextmanager
def _endpoint(server: str, archive: Path, factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with started(archive, factory.mktemp("e"), factory.mktemp("log") / "log", server) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def torchserve(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with _endpoint("torchserve", archive, tmp_path_factory) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def mms(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with _endpoint("mms", archive, tmp_path_factory) as endpoint:
        yield endpoint


@pytest.fixture(params=SERVERS)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    started_endpoint: Endpoint = request.getfixturevalue(request.param)
    return started_endpoint
