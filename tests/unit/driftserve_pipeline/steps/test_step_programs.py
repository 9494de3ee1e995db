"""Tests of the parts of the step programs: unpacking, running commands, verdicts and folders."""

import json
import os
import sys
from pathlib import Path

import pytest

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.registry.metadata import is_metadata_value, metadata_value
from driftserve_pipeline.steps.command import run_command
from driftserve_pipeline.steps.evidence import Certificate, Evaluation, Trained, read_evidence
from driftserve_pipeline.steps.step import Folders
from driftserve_pipeline.steps.verdict import Verdict, judge, read_verdict, write_verdict
from driftserve_training.evaluation.document import Comparison, Interval
from training_evidence import robustness, write_evaluation, write_run

ARN = "arn:aws:sagemaker:eu-central-1:111122223333:model-package/scenes/3"


def _comparison(challenger_alone: int, champion_alone: int) -> Comparison:
    return Comparison("scenes/3", 30, 0.5, 0.5, Interval(0.0, -0.1, 0.1), challenger_alone, champion_alone, 0.03125)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


def _judged(run: Path, threshold: float = 0.75, champion: str | None = ARN, is_comparable: bool = True) -> Verdict:
    return judge(
        read_evidence(run / "evaluation.json", Evaluation), threshold, champion, is_comparable, {"archive_sha256": "0a"}
    )


@pytest.mark.parametrize(
    ("alone", "beats", "reason"),
    [
        (
            (6, 1),
            1,
            "the model passes: accuracy 0.8000 on 30 test images, this model alone is right on 6 of 30 test images",
        ),
        (
            (1, 6),
            0,
            "not better than the champion: accuracy 0.8000 on 30 test images, this model alone is right on 1 of",
        ),
        ((4, 4), 0, "not better than the champion: accuracy 0.8000"),
        ((0, 0), 0, "not better than the champion: accuracy 0.8000"),
    ],
    ids=["more right", "fewer right", "as many", "the same"],
)
def test_more_right_predictions_beat_the_champion(run: Path, alone: tuple[int, int], beats: int, reason: str) -> None:
    write_evaluation(run, comparison=_comparison(*alone), robustness=robustness(0.6))
    verdict = _judged(run)
    assert (verdict.beats_champion, verdict.champion) == (beats, ARN)
    assert verdict.reason.startswith(reason)
    assert verdict.reason.endswith(f"the champion {ARN} alone on {alone[1]} (p 0.0312)")
    assert verdict.metadata == {
        "accuracy": "0.8000",
        "mean_corruption_accuracy": "0.6000",
        "p_value": "0.0312",
        "champion": ARN,
        "compared": "yes",
        "archive_sha256": "0a",
    }
    assert all(map(is_metadata_value, verdict.metadata.values()))


def test_a_model_without_a_comparable_champion_beats_it(run: Path) -> None:
    write_evaluation(run)
    first, other = _judged(run, champion=None, is_comparable=False), _judged(run, is_comparable=False)
    assert (first.beats_champion, first.champion, first.metadata["p_value"]) == (1, "none", "none")
    assert (first.metadata["compared"], other.metadata["compared"]) == ("no - none is approved", "no - other classes")
    assert all(map(is_metadata_value, (*first.metadata.values(), *other.metadata.values())))
    assert first.reason.endswith("test images, no version is approved yet")
    assert (other.beats_champion, other.champion) == (1, ARN)
    assert other.reason.endswith(f"test images, the champion {ARN} has other classes and was not compared")


def test_a_missing_comparison_with_the_champion_is_an_error(run: Path) -> None:
    write_evaluation(run)
    with pytest.raises(PipelineError, match=r"expected a comparison with arn:aws:.*, got none"):
        _judged(run)


def test_the_verdict_names_every_reason_against_a_model(run: Path) -> None:
    write_evaluation(run, comparison=_comparison(1, 2))
    assert _judged(run, 0.8).reason.startswith("not better than the champion: ")  # equal to the threshold is enough
    said = (
        "accuracy 0.8000 is below the threshold 0.85; not better than the champion: accuracy 0.8000 on 30 test images"
    )
    assert _judged(run, 0.85).reason.startswith(said)


def test_a_verdict_is_read_back_unchanged(run: Path, tmp_path: Path) -> None:
    write_evaluation(run)
    verdict = _judged(run, champion=None)
    write_verdict(verdict, tmp_path)
    assert read_verdict(tmp_path) == verdict
    assert json.loads((tmp_path / "verdict.json").read_text())["beats_champion"] == 1
    with pytest.raises(PipelineError, match=r"nowhere/verdict\.json: cannot read the file: No such"):
        read_verdict(tmp_path / "nowhere")
    (tmp_path / "verdict.json").write_text('{"accuracy": 1}')
    with pytest.raises(PipelineError, match=r"verdict\.json: beats_champion: Field required; run the step"):
        read_verdict(tmp_path)


def test_the_training_record_is_read(run: Path) -> None:
    assert read_evidence(run / "trained.json", Trained).labels == ("forest", "glacier", "sea")


def test_the_certificate_summary_is_one_line_that_metadata_allows() -> None:
    false_alarms = [{"size": 200, "budget": 5e-4, "windows": 200, "rate": 0.001, "upper_bound": 0.003, "worst": 0.0}]
    power = [{"corruption": "fog", "severity": 1, "power": power} for power in (0.75, 1.0, None)]
    given = {"kind": "short", "source": "val", "images": 300, "false_alarms": false_alarms, "power": power}
    line = str(Certificate.model_validate(given))
    assert line == "short - false alarms 0.0010 of 0.0005 allowed - power 0.875 over 2 corruptions - 300 images"
    assert metadata_value(line) == line
    few = str(Certificate.model_validate(given | {"false_alarms": [], "power": power[2:]}))
    assert few == "short - 300 images"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of a module that can be run as `python -m spoken`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return tmp_path / "spoken.py"


def test_a_commands_stdout_is_returned_its_stderr_shown(
    module: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    module.write_text("import sys; print(sys.argv[1:]); print('half', file=sys.stderr)")
    assert run_command("spoken", "a", "b c") == "['a', 'b c']\n"
    assert capfdbinary.readouterr() == (b"", b"half\n")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "print('reading:  50%|##   spoken: a.png: corrupt; remove it', file=sys.stderr); sys.exit(2)",
            "a.png: corrupt; remove it",
        ),
        ("raise ValueError('odd')", "spoken now: ended with exit status 1: ValueError: odd"),
        ("sys.exit(3)", "spoken now: ended with exit status 3: nothing on stderr"),
        ("os.kill(os.getpid(), 9)", "spoken now: ended by SIGKILL; if memory was short, choose a larger instance"),
    ],
)
def test_the_error_of_a_failing_command_is_passed_on(module: Path, source: str, said: str) -> None:
    module.write_text(f"import os, sys\n{source}")
    with pytest.raises(PipelineError) as caught:
        run_command("spoken", "now")
    assert str(caught.value) == said


def test_an_output_folder_is_emptied_but_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "processing" / "output" / "fetched"
    (output / "seg_train" / "sea").mkdir(parents=True)
    (output / ".hidden").touch()
    (output / "link").symlink_to(tmp_path)
    node = output.stat().st_ino
    assert Folders(tmp_path).fresh_output("fetched") == output
    assert not list(output.iterdir())
    assert output.stat().st_ino == node
    assert (tmp_path / "processing").is_dir()
