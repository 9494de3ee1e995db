"""Tests of the local-mode runner that need no container: images, parameters, log and engine."""

import io
from pathlib import Path

import pytest

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.execution.parameter import Parameter
from driftserve_pipeline.local.containers.__main__ import main
from driftserve_pipeline.local.containers.execution import typed
from driftserve_pipeline.local.containers.images import choose
from driftserve_pipeline.local.containers.log import ContainerLog
from driftserve_pipeline.local.processes.source import digest_of
from driftserve_pipeline.local.storage import Storage
from image_folders import write_images

PARAMETERS = (
    Parameter("Model", "String", "mobilenetv2_100"),
    Parameter("Epochs", "Integer", "4"),
    Parameter("AccuracyThreshold", "Float", "0.85"),
    Parameter("CodeRevision", "String", "unknown"),
)


def test_images_are_chosen_from_each_folder_in_any_layout(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere", {"sea": 4})
    write_images(tmp_path / "kaggle/seg_train/seg_train", {"forest": 5, "street": 2})
    write_images(tmp_path / "kaggle/seg_pred", {"seg_pred": 4})
    write_images(tmp_path / "kaggle", {".cache": 1})
    (tmp_path / "kaggle/seg_test").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "kaggle/seg_train/.DS_Store").touch()

    chosen = choose(tmp_path / "kaggle", 3)
    folders = [name.rpartition("/")[0] for name in chosen.files]
    taken = {folder: folders.count(folder) for folder in folders}
    assert taken == {
        "seg_train/seg_train/forest": 3,
        "seg_train/seg_train/street": 2,
        "seg_pred/seg_pred": 3,
        "seg_test/sea": 3,
    }
    assert chosen.there == 15
    assert all(path.is_file() for path in chosen.files.values())


def test_the_error_for_an_empty_class_names_it(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"forest": 2})
    (tmp_path / "train/sea").mkdir()
    with pytest.raises(PipelineError, match=r"train/sea: expected images, got an empty folder"):
        choose(tmp_path, 60)


def test_missing_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"missing: expected a folder with train/ and test/"):
        choose(tmp_path / "missing", 60)


def test_local_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"caf\udce9": 1})
    with pytest.raises(PipelineError, match=r"expected names in UTF-8, got train/caf\udce9/0\.png"):
        digest_of([tmp_path])
    with pytest.raises(PipelineError, match=r"train/caf\udce9/0\.png: expected a name in UTF-8, as S3 needs it"):
        Storage(None).upload(tmp_path, "s3://scenes/images")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("AccuracyThreshold", "1", 1.0),
        ("AccuracyThreshold", "1e-3", 0.001),
        ("Epochs", "2", 2),
        ("CodeRevision", "123456789012", "123456789012"),
        ("CodeRevision", "1234567e8901", "1234567e8901"),
        ("Model", "nan", "nan"),
    ],
)
def test_a_parameter_is_converted_to_its_declared_type(name: str, text: str, value: object) -> None:
    given = typed(PARAMETERS, {name: text})[name]
    assert (type(given), given) == (type(value), value)


def test_an_invalid_or_unknown_parameter_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"Epochs: expected a value of type Integer"):
        typed(PARAMETERS, {"Epochs": "many"})
    with pytest.raises(PipelineError, match=r"'Epoch'"):
        typed(PARAMETERS, {"Epoch": "3"})


def test_the_log_has_no_terminal_codes_and_finds_the_reason_of_the_failed_step() -> None:
    file = io.StringIO()
    log = ContainerLog(file)
    log.begin("Preprocess")
    log.write("Creating ab-algo-1-cd ... \r\nCreating ab-algo-1-cd ... \x1b[32mdone\x1b[0m\r\x1b[1B")
    log.write("\n\x1b[36mab-algo-1-cd |\x1b[0m \rchecking: 50%\rchecking: 100%\r\n")
    log.write("\x1b[36mab-algo-1-cd |\x1b[0m driftserve_training: a.jpg: expected a whole image\r\n")
    log.write("\x1b[36mab-algo-1-cd |\x1b[0m driftserve_pipeline.steps: a.jpg: expected ")
    log.write("a whole image, got none\r\n\x1b[36mab-algo-1-cd exited with code 1\n")
    assert log.reason == "a.jpg: expected a whole image, got none"
    log.begin("Refuse")
    assert log.reason is None
    assert file.getvalue() == (
        "== Preprocess\n"
        "Creating ab-algo-1-cd ...\n"
        "Creating ab-algo-1-cd ... done\n"
        "checking: 100%\n"
        "driftserve_training: a.jpg: expected a whole image\n"
        "driftserve_pipeline.steps: a.jpg: expected a whole image, got none\n"
        "ab-algo-1-cd exited with code 1\n"
        "== Refuse\n"
    )


def test_the_named_engine_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = tmp_path / "podman"
    fake.write_text("#!/bin/sh\n# A fake engine: it has no image.\necho $@ >> $0.asked\n")
    fake.chmod(0o755)
    command = ["--pipeline-python", "python", "--work", str(tmp_path / "work"), "--images", str(tmp_path)]
    assert main([*command, "--docker", str(fake)]) == 2
    assert "expected the Docker image" in capsys.readouterr().err
    assert (tmp_path / "podman.asked").read_text().startswith("image ls")

    assert main([*command, "--docker", str(tmp_path / "none")]) == 2
    assert "expected Docker, got no command" in capsys.readouterr().err
