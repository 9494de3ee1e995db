"""Tests that the pipeline's command lines refuse unknown and abbreviated arguments."""

from collections.abc import Callable, Sequence

import pytest

from driftserve.errors import DriftserveError
from driftserve_pipeline.__main__ import main as pipeline
from driftserve_pipeline.local.containers.__main__ import main as containers
from driftserve_pipeline.local.processes.__main__ import main as processes
from driftserve_pipeline.steps.__main__ import _parser as step_parser

Main = Callable[[Sequence[str]], int]
CONTAINERS = ["--pipeline-python", "python", "--images", "images"]


@pytest.mark.parametrize(
    ("main", "program", "arguments"),
    [
        (pipeline, "driftserve-pipeline", []),
        (pipeline, "driftserve-pipeline", ["fly"]),
        (pipeline, "driftserve-pipeline", ["logs"]),
        (pipeline, "driftserve-pipeline", ["start", "--agai"]),
        (processes, "driftserve_pipeline.local.processes", []),
        (processes, "driftserve_pipeline.local.processes", ["--definition", "pipeline.json", "--agai"]),
        (containers, "driftserve_pipeline.local.containers", []),
        (containers, "driftserve_pipeline.local.containers", [*CONTAINERS, "--dock", "podman"]),
    ],
)
def test_a_wrong_or_abbreviated_argument_is_a_one_line_error(
    main: Main, program: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2
    assert line.startswith(f"{program}: ")
    assert line.endswith("--help` for usage")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["fetch"], ["fetch", "--sour", "s3://scenes"]])
def test_a_step_raises_an_error_for_a_wrong_or_abbreviated_argument(arguments: list[str]) -> None:
    with pytest.raises(
        DriftserveError, match=r"^[^\n]+; run `python -m driftserve_pipeline\.steps.* --help` for usage$"
    ):
        step_parser().parse_args(arguments)
