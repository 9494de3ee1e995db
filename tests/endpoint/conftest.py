"""The endpoint under test: the one given by an option, otherwise local TorchServe and MMS with a tiny archive."""

from pathlib import Path

import pytest

from driftserve.archive.reading import find_archive, unpack_archive
from endpoint_clients import AnyEndpoint, Expected, HttpEndpoint, SageMakerEndpoint
from model_servers import SERVERS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "endpoint" in metafunc.fixturenames:
        url, name = (metafunc.config.getoption(option) for option in ("--endpoint-url", "--sagemaker-endpoint"))
        if url and name:
            raise pytest.UsageError("expected --endpoint-url or --sagemaker-endpoint, got both")
        targets = [url] if url else [f"sagemaker:{name}"] if name else SERVERS
        metafunc.parametrize("endpoint", targets, indirect=True, scope="session")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what only a SageMaker endpoint has. None lets pytest decide."""
    only_there = collection_path.name == "test_allowed_archive.py"
    return True if only_there and not config.getoption("--sagemaker-endpoint") else None


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> AnyEndpoint:
    target = str(request.param)
    if target in SERVERS:
        return HttpEndpoint(request.getfixturevalue(target).url)
    if target.startswith("sagemaker:"):
        return SageMakerEndpoint(target.removeprefix("sagemaker:"))
    return HttpEndpoint(target)


@pytest.fixture(scope="session")
def expected(
    pytestconfig: pytest.Config, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Expected:
    """The expectations from the archive of --archive, or of the local servers."""
    place = pytestconfig.getoption("--archive")
    if place is None:
        if pytestconfig.getoption("--endpoint-url") or pytestconfig.getoption("--sagemaker-endpoint"):
            pytest.skip("the expected predictions are unknown: give --archive")
        place = request.getfixturevalue("archive")
    directory = tmp_path_factory.mktemp("unpacked")
    return Expected(unpack_archive(find_archive(Path(place)), directory), directory)


@pytest.fixture
def latency_budget_ms(pytestconfig: pytest.Config) -> float:
    return float(pytestconfig.getoption("--latency-budget-ms"))
