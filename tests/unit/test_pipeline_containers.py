"""The pipeline in containers, as far as it goes without any."""

from pathlib import Path

import pytest

from driftserve_pipeline.local.containers.__main__ import main


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
