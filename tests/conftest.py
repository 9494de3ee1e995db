"""Shared fixtures: a tiny real model in a real archive, running servers, real images; and the test order."""

import gc
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# A shell starts a background job with SIGINT ignored, and all child processes inherit that. Some tests press Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Set before torch is imported: with more threads, parallel test processes would compete for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
import torch
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import driftserve_training  # noqa: F401  makes torchvision importable; pytest-xdist imports the modules of warnings
from driftserve.archive.certificate import Certificate, FalseAlarms, Power
from driftserve.archive.contract import SCHEMA_VERSION, Contract, DriftPolicy, GoldenImage, ImageSpec
from driftserve.archive.writing import write_archive
from driftserve.drift.features import feature_names
from driftserve.host.ports import free_ports
from driftserve.images.decode import decode
from driftserve.images.preprocess import preprocess
from driftserve.inference.model import Model, load_graph
from driftserve.inference.prediction import calibrate, to_prediction
from driftserve.inference.scoring import score
from model_servers import VARIABLES_OF_THE_SERVERS, Endpoint, started
from sample_images import LABELS, encode, scene

EMBEDDING_SIZE = 3
CERTIFICATE = Certificate(
    kind="short",
    source="written by hand for tests",
    images=300,
    reference_images=600,
    draws=5,
    seed=0,
    false_alarms=(FalseAlarms(size=200, budget=5e-4, windows=200, rate=0.0, upper_bound=0.003, worst=0.0),),
    power=(
        Power(corruption="brightness", severity=1, power=0.75, long_power=None, accuracy=0.9, estimated_accuracy=0.88),
    ),
)

hypothesis.settings.register_profile("driftserve", deadline=None)  # a slow machine must not fail a test
hypothesis.settings.register_profile(
    "fuzz", deadline=None, max_examples=10_000, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("driftserve")


@pytest.fixture(autouse=True)
def _temporary_directory() -> Iterator[None]:
    """Undo what a command line that runs in this process sets for its whole process."""
    before = tempfile.tempdir
    yield
    tempfile.tempdir = before


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `tests/endpoint`; pytest reads options from this file, whatever tests are selected."""
    group = parser.getgroup("endpoint", "the endpoint that tests/endpoint tests (default: two local servers)")
    group.addoption("--endpoint-url", help="URL of an endpoint with /ping and /invocations: http://HOST:PORT")
    group.addoption("--sagemaker-endpoint", metavar="NAME", help="SageMaker endpoint in the current account")
    group.addoption("--archive", help="archive that the endpoint serves: a .mar file or a directory with one")
    group.addoption(
        "--latency-budget-ms", type=float, default=500.0, help="maximum median latency (default: %(default)s)"
    )


# Tests of these files share servers that start once per session.
USERS_OF_SERVERS = (
    *(f"tests/server/test_{name}.py" for name in ("fuzz_log", "http_api", "sagemaker_runtime", "server", "sockets")),
    "tests/endpoint/",
)
# Tests of these files run programs in forks of the warm interpreter. Each xdist worker has its own interpreter.
USERS_OF_FORKS = tuple(
    f"tests/integration/test_{name}.py"
    for name in (
        "gradients",
        "pipeline_definition_dry",
        "pipeline_steps",
        "resumption",
        "search_postgresql",
        "training_job",
        "training_to_archive",
    )
)
# Tests that start processes run first, the longest before all: a long test that starts last leaves a core idle.
FIRST = ("tests/e2e/", *USERS_OF_FORKS, "tests/integration/", "tests/server/", "tests/endpoint/")


class ScheduleByFile(LoadScopeScheduling):
    """Run each file on one xdist worker, and files that share a session fixture on the same one.

    `--dist loadgroup` does not work: pytest-xdist 3.8 writes the group into `_nodeid`, which pytest 9.2 does not read.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(USERS_OF_SERVERS):
            return "servers"
        return "forks" if nodeid.startswith(USERS_OF_FORKS) else nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Exclude the imported modules from every later garbage collection, which saves 6 % of the processor time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ScheduleByFile:
    return ScheduleByFile(config, log)


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled the tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((rank for rank, start in enumerate(FIRST) if item.nodeid.startswith(start)), 99))


class TinyNetwork(torch.nn.Module):
    """A real graph with the interface that an archive needs. It predicts the brightest of the three channels."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = pixels.float().mean(dim=(2, 3)) / 64
        return means, means - 2


def to_golden(file: str, png: bytes, model: Model, spec: ImageSpec) -> GoldenImage:
    """Return a golden image with the tiny network's prediction at temperature 1."""
    probabilities = calibrate(model(preprocess([decode(png)], spec)).logits, 1.0)[0]
    label = to_prediction(probabilities, LABELS).label
    return GoldenImage(file=file, label=label, probabilities=tuple(probabilities.tolist()))


@pytest.fixture(scope="session")
def spec() -> ImageSpec:
    return ImageSpec(height=32, width=32, resize_shorter_side=36, interpolation="bilinear")


@pytest.fixture(scope="session")
def graph_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.pt"
    torch.jit.script(TinyNetwork()).save(str(path))
    return path


@pytest.fixture(scope="session")
def golden() -> Mapping[str, bytes]:
    """Two generated images, by file name in the archive."""
    generator = np.random.default_rng(2)
    return {f"golden-{number:02}.png": encode(scene(generator)) for number in range(2)}


@pytest.fixture(scope="session")
def contract(spec: ImageSpec, graph_file: Path, golden: Mapping[str, bytes]) -> Contract:
    """The contract of the tiny network. The serving code scored its reference on 400 generated images."""
    generator = np.random.default_rng(1)
    model = load_graph(graph_file, spec)
    rows = score((scene(generator) for _ in range(400)), model, spec, 1.0).features
    names = feature_names(LABELS, EMBEDDING_SIZE)
    return Contract(
        schema_version=SCHEMA_VERSION,
        name="tiny",
        version="7",
        labels=LABELS,
        image_spec=spec,
        temperature=1.0,
        embedding_size=EMBEDDING_SIZE,
        drift=DriftPolicy(window_size=50, windows_between_false_alarms=1000),
        reference=dict(zip(names, (tuple(column) for column in rows.T.tolist()), strict=True)),
        reference_accuracy=0.95,
        certificate=CERTIFICATE,
        golden=tuple(to_golden(file, png, model, spec) for file, png in golden.items()),
        files={},
        evaluation={"test_accuracy": 1.0},
        provenance={"seed": 1},
    )


@pytest.fixture(scope="session")
def archive(
    contract: Contract, graph_file: Path, golden: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"), contract, graph_file, golden)


@pytest.fixture(scope="session")
def intel() -> Path:
    """The folder of real images, `<DRIFTSERVE_DATA>/intel`. Skip the test if there is none."""
    root = os.environ.get("DRIFTSERVE_DATA")
    if not root:
        pytest.skip("no real images: set DRIFTSERVE_DATA")
    folder = Path(root, "intel")
    if not folder.is_dir():
        pytest.skip(f"no real images: expected a folder {folder} (from DRIFTSERVE_DATA)")
    return folder


@contextmanager
def _endpoint(server: str, archive: Path, factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    runtime_dir = factory.mktemp("e") / "\u00fc\\u"  # beyond ASCII, and a backslash: both are special to Java
    runtime_dir.mkdir()
    runtime_dir.chmod(0o755)  # other users may look into it: the server itself must keep them out
    variables = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "LC_ALL": "C"} | VARIABLES_OF_THE_SERVERS
    with started(archive, runtime_dir, factory.mktemp("log") / "log", server, **variables) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def torchserve(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A running TorchServe, shared by all tests that do not damage it."""
    with _endpoint("torchserve", archive, tmp_path_factory) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def mms(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A running MMS, shared by all tests that do not damage it."""
    with _endpoint("mms", archive, tmp_path_factory) as endpoint:
        yield endpoint


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Restore torch's number of threads: `Model` sets it to one for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Restore logging: `configure_logging` expects to own the process."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], (sys.excepthook, threading.excepthook) = handlers, hooks
    root.setLevel(level)
    logging.captureWarnings(False)
    for name in ("driftserve", "PIL"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
