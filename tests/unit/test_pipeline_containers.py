"""The pipeline in containers, as far as it goes without any."""

from pathlib import Path

import pytest

from driftserve.errors import PipelineError
from driftserve_pipeline.local.containers.__main__ import main
from driftserve_pipeline.local.containers.images import choose
from image_folders import write_images


def test_images_are_taken_of_each_folder_whatever_the_layout(tmp_path: Path) -> None:
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


def test_an_empty_class_is_refused_by_its_name(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"forest": 2})
    (tmp_path / "train/sea").mkdir()
    with pytest.raises(PipelineError, match=r"train/sea: expected images, got an empty folder"):
        choose(tmp_path, 60)


def test_images_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"missing: expected a folder with train/ and test/"):
        choose(tmp_path / "missing", 60)


def test_the_engine_is_the_one_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = tmp_path / "podman"
    fake.write_text("#!/bin/sh\n# A fake engine: it has no image.\necho $@ >> $0.asked\n")
    fake.chmod(0o755)
    command = ["--pipeline-python", "python", "--work", str(tmp_path), "--images", str(tmp_path)]
    assert main([*command, "--docker", str(fake)]) == 2
    assert "expected the image" in capsys.readouterr().err
    assert (tmp_path / "podman.asked").read_text().startswith("image ls")

    assert main([*command, "--docker", str(tmp_path / "none")]) == 2
    assert "expected Docker, got no command" in capsys.readouterr().err
