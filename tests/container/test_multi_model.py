"""A running container that loads and unloads models on request (docs/docker.md, "Many models")."""

import json
import shutil
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from containers import Container, readable, serving, tag
from driftserve.archive.writing import write_model_tarball
from processes import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]


def _models(server: Container) -> dict[str, str]:
    listed = urllib3.request("GET", f"{server.url}/models").json()["models"]
    return {model["modelName"]: model["modelUrl"] for model in listed}


def _load_model(server: Container, name: str, url: str) -> int:
    body = json.dumps({"model_name": name, "url": url}).encode()
    return server.post(body, "application/json", "/models").status


def _unload(server: Container, name: str) -> int:
    return urllib3.request("DELETE", f"{server.url}/models/{name}").status


@pytest.fixture(scope="module")
def models_dir(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory as on SageMaker: three unpacked model.tar.gz, one of them broken, and one archive file."""
    root = tmp_path_factory.mktemp("multi") / "models"
    tarball = root.parent / "model.tar.gz"
    write_model_tarball(archive, tarball)
    for name in ("good", "other", "broken"):
        with tarfile.open(tarball) as packed:
            packed.extractall(root / name / "model", filter="data")
    broken = root / "broken" / "model" / archive.name
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    return readable(root, archive)


def test_a_broken_model_is_refused_and_other_models_serve(
    models_dir: Path, archive: Path, bodies: Sequence[bytes]
) -> None:
    many = {"SAGEMAKER_MULTI_MODEL": "true"}
    with serving(tag("serving"), models_dir, place="/opt/ml/models", **many) as server:
        assert _models(server) == {}
        assert server.post(bodies[0], path="/models/good/invoke").status == 404
        assert _load_model(server, "good", "/opt/ml/models/good/model") == 200
        assert _load_model(server, "good", "/opt/ml/models/good/model") == 409
        assert _load_model(server, "broken", "/opt/ml/models/broken/model") == 500
        assert "driftserve: tiny.mar: " in server.log()
        assert _load_model(server, "file", f"file:///opt/ml/models/{archive.name}") == 200
        for elsewhere in (
            "file:///etc/passwd",
            "http://127.0.0.1:1/a.mar",
            "/opt/ml/models/none",
            "/opt/ml/models/../x",
        ):
            assert _load_model(server, "elsewhere", elsewhere) == 404
        assert _load_model(server, "elsewhere", "/opt/venv") in (404, 500)
        wait_for(lambda: set(_models(server)) == {"good", "file"}, 10)  # the list is updated shortly after the response
        for name in ("good", "file"):
            answer = server.post(bodies[0], path=f"/models/{name}/invoke")
            assert answer.status == 200
            assert answer.json()["model"] == {"name": "tiny", "version": "7"}
        assert server.post(b"garbage", path="/models/good/invoke").status == 400
        assert server.post(bodies[0], path="/models/broken/invoke").status == 404
        assert [_unload(server, "file"), _unload(server, "file")] == [200, 404]
        assert server.post(bodies[0], path="/models/good/invoke").status == 200
        wait_for(lambda: "tiny/7" in server.status())


def test_without_memory_a_model_is_refused_with_507_until_another_is_unloaded(
    models_dir: Path, bodies: Sequence[bytes]
) -> None:
    little = ("--memory", "900m", "--memory-swap", "900m")
    many = {"SAGEMAKER_MULTI_MODEL": "true"}
    with serving(tag("serving"), models_dir, *little, place="/opt/ml/models", **many) as server:
        names = [f"model-{number}" for number in range(8)]
        statuses = [_load_model(server, name, "/opt/ml/models/good/model") for name in names]
        loaded, refused = names[: statuses.index(507)], names[-1]
        assert statuses == [200] * len(loaded) + [507] * (len(names) - len(loaded))
        assert loaded
        wait_for(lambda: set(_models(server)) == set(loaded), 3)
        # Like SageMaker, unload a model and retry with the refused name. One may not be enough: a worker uses less
        # memory than must be free to start it, and the JVM has grown in the meantime.
        for name in loaded:
            assert _unload(server, name) == 200
            wait_for(lambda: _models(server).keys() <= set(loaded), 3)
            if (status := _load_model(server, refused, "/opt/ml/models/other/model")) == 200:
                break
        assert status == 200
        assert server.post(bodies[0], path=f"/models/{refused}/invoke").status == 200
        assert server.is_running()


@pytest.mark.parametrize(
    "manifest", [{"runtime": "python3"}, {"runtime": "python2"}, {"runtime": "LSP"}, {"handler": "base_handler"}]
)
def test_files_of_a_hostile_archive_are_never_run(
    models_dir: Path, tmp_path: Path, bodies: Sequence[bytes], manifest: dict[str, str]
) -> None:
    """TorchServe follows the manifest before it is verified. Each file that would run writes a trace."""
    root = readable(tmp_path / "models")
    for name in ("good", "hostile"):
        shutil.copytree(models_dir / "good", root / name)
    place = root / "hostile" / "model"
    trace = "open('/tmp/ran', 'w')\n"
    for name in ("sitecustomize.py", "usercustomize.py", "driftserve_handler.py", "torch.py", "ts.py"):
        (place / name).write_text(trace)
    program = place / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\ntouch /tmp/ran\n")
    (place / "model-config.yaml").write_text("useVenv: true\nparallelType: pp\ntorchrun:\n  nproc-per-node: 1\n")
    document = json.loads((place / "MAR-INF" / "MANIFEST.json").read_text())
    document["runtime"] = manifest.get("runtime", "python")
    document["model"] |= {
        "configFile": "model-config.yaml",
        "handler": manifest.get("handler", "driftserve_handler.py"),
    }
    (place / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(document))
    readable(root)
    program.chmod(0o755)
    many = {"SAGEMAKER_MULTI_MODEL": "true"}
    with serving(tag("serving"), root, place="/opt/ml/models", **many) as server:
        assert _load_model(server, "hostile", "/opt/ml/models/hostile/model") >= 400
        assert _load_model(server, "good", "/opt/ml/models/good/model") == 200
        assert server.post(bodies[0], path="/models/good/invoke").status == 200
        assert "ran" not in server.run("ls", "/tmp").split()  # noqa: S108 - in the container
        wait_for(lambda: set(_models(server)) == {"good"}, 10)


def test_models_can_be_loaded_concurrently_and_are_independent(models_dir: Path, bodies: Sequence[bytes]) -> None:
    many = {"SAGEMAKER_MULTI_MODEL": "true"}
    with serving(tag("serving"), models_dir, place="/opt/ml/models", **many) as server:
        with ThreadPoolExecutor(3) as pool:
            places = {"good": "good/model", "broken": "broken/model", "other": "other/model"}
            statuses = dict(
                zip(
                    places,
                    pool.map(lambda name: _load_model(server, name, f"/opt/ml/models/{places[name]}"), places),
                    strict=True,
                )
            )
        assert statuses == {"good": 200, "broken": 500, "other": 200}
        assert _unload(server, "good") == 200
        assert server.post(bodies[0], path="/models/other/invoke").status == 200
        assert _load_model(server, "good", "/opt/ml/models/good/model") == 200
        for name in ("good", "other"):
            assert server.post(bodies[0], path=f"/models/{name}/invoke").status == 200
        assert [_unload(server, name) for name in ("good", "other")] == [200, 200]
        wait_for(lambda: "tiny/7" not in server.status(), 30)  # its files are removed and the monitor forgets it
