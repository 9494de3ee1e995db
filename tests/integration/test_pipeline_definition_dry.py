"""Run the rendered definition as local processes: with a fake image that takes no time, and with the real programs."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

import driftserve.cli
from checkout import TESTS
from driftserve_demo.synthetic import write_dataset
from driftserve_pipeline.local.containers import __main__ as containers
from driftserve_pipeline.local.processes.__main__ import main
from processes import running, wait_for
from service_models import service_models_read_once
from warm_interpreter import WarmInterpreter

RENDERED = TESTS / "golden" / "pipeline.json"
SEARCHING = TESTS / "golden" / "pipeline-tuning.json"
PARAMETERS = {
    "Model": "test_resnet",
    "BatchSize": "17",
    "Optimizer": "sgd",
    "LearningRate": "0.004",
    "Epochs": "3",
    "ImageSize": "48",
    "Augmentation": "light",
    "TrainLocation": "s3://scenes/train",
    "TestLocation": "s3://scenes/test",
    "AnnotationRelease": "s3://scenes/release.json",
    "UnusableImages": "drop",
    "CodeRevision": "abc123",
    "SourceDigest": "d" * 64,
    "AccuracyThreshold": "0.75",
}


SEARCHED = {name: value for name, value in PARAMETERS.items() if name not in ("Model", "Optimizer", "LearningRate")}


def _flags(definition: Path, work: Path, python: str | Path, parameters: Mapping[str, str]) -> list[str]:
    given = [part for name, value in parameters.items() for part in ("--param", f"{name}={value}")]
    return ["--definition", str(definition), "--work", str(work), "--training-python", str(python), *given]


@pytest.fixture(scope="module", autouse=True)
def _service_models() -> Iterator[None]:
    with service_models_read_once():
        yield


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The Python of the fake training image."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {TESTS / "fake_training_image.py"} "$@"\n')
    path.chmod(0o755)
    return path


def _base(work: Path, step: str) -> Path:
    (base,) = work.glob(f"executions/*/steps/{step}/ml")
    return base


def test_every_parameter_reaches_its_container_and_a_good_model_is_registered(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_ACCURACY", "0.75")  # equal to the threshold
    monkeypatch.setenv("FAKE_BEATS", "1")
    work = tmp_path / "work"
    assert main(_flags(RENDERED, work, image, PARAMETERS)) == 0
    said = capsys.readouterr().out
    assert "val_accuracy 0.8125" in said
    assert re.search(r"^registered .*/scenes/1$", said, re.MULTILINE)
    assert (work / "model" / "scenes.mar").read_text() == "archive"
    arguments = {
        step: json.loads((_base(work, step) / "arguments.json").read_text())
        for step in ("Fetch", "Preprocess", "Evaluate")
    }
    assert arguments["Fetch"] == (
        ["fetch", "--source", "s3://scenes/train", "--test-source", "s3://scenes/test", "--digest", "d" * 64]
    )
    assert arguments["Preprocess"] == (
        ["preprocess", "--annotations", "s3://scenes/release.json", "--unusable-images", "drop"]
    )
    (execution,) = (path.name for path in (work / "executions").iterdir())
    assert arguments["Evaluate"][arguments["Evaluate"].index("--threshold") + 1] == "0.75"
    assert arguments["Evaluate"][arguments["Evaluate"].index("--version") + 1] == execution
    hyperparameters = json.loads((_base(work, "Train") / "input/config/hyperparameters.json").read_text())
    assert hyperparameters == {
        "model": "test_resnet",
        "batch_size": "17",
        "optimizer": "sgd",
        "learning_rate": "0.004",
        "epochs": "3",
        "image_size": "48",
        "augmentation": "light",
        "pretrained": "true",
        "revision": "abc123",
        "product": "run",
        "name": "scenes",
    }


# A fake of the Python with the SDK: it outputs the golden definition and records its settings.
FAKE_RENDERING = """#!/bin/sh
env | sed -n /^DRIFTSERVE_PIPELINE_/p > "$0.settings"
test "$*" = "-m driftserve_pipeline render --output $5" || { echo "driftserve-pipeline: odd: $*" >&2; exit 2; }
cp {definition} "$5"
"""


@pytest.fixture
def pipeline_python(tmp_path: Path) -> Path:
    path = tmp_path / "sdk"
    path.write_text(FAKE_RENDERING.replace("{definition}", str(RENDERED)))
    path.chmod(0o755)
    return path


def test_a_run_on_images_renders_its_definition_and_reads_them_in_place(
    image: Path, pipeline_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_ACCURACY", "0.75")
    monkeypatch.setenv("FAKE_BEATS", "1")
    monkeypatch.setenv("DRIFTSERVE_PIPELINE_EXPLAINED_IMAGES", "2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my scenes").mkdir()
    for name in ("w'1.safetensors", "w'1.safetensors.json"):
        (tmp_path / name).write_text(name)
    flags = ["--work", "work", "--training-python", str(image), "--pipeline-python", str(pipeline_python)]
    flags += ["--images", "my scenes", "--drawn", "--weights", "w'1.safetensors", "--param", "CodeRevision=abc"]
    assert main(flags) == 0
    work = tmp_path / "work"
    assert (work / "pipeline.json").read_bytes() == RENDERED.read_bytes()
    assert (work / "model" / "scenes.mar").read_text() == "archive"
    assert set((tmp_path / "sdk.settings").read_text().splitlines()) == {
        "DRIFTSERVE_PIPELINE_ROBUSTNESS_IMAGES=24",
        "DRIFTSERVE_PIPELINE_EXPLAINED_IMAGES=2",
        "DRIFTSERVE_PIPELINE_WEIGHTS=s3://driftserve-dry/weights/w'1.safetensors",
    }
    sent = json.loads((_base(work, "Fetch") / "arguments.json").read_text())
    assert sent[sent.index("--source") + 1] == str(tmp_path / "my scenes")
    hyperparameters = json.loads((_base(work, "Train") / "input/config/hyperparameters.json").read_text())
    assert (hyperparameters["model"], hyperparameters["epochs"]) == ("test_resnet", "4")
    assert hyperparameters["revision"] == "abc"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--pipeline-python", "none"], "--pipeline-python: cannot run this Python: .*none"),
        (["--weights", "a b"], "--weights: expected a file whose name has no blanks, got 'a b'"),
        (["--param", "Epochs"], "--param: expected NAME=VALUE, got 'Epochs'"),
    ],
)
def test_settings_that_cannot_be_rendered_are_a_one_line_error(
    pipeline_python: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], reason: str
) -> None:
    given = ["--work", str(tmp_path / "w"), "--images", str(tmp_path), "--pipeline-python", str(pipeline_python)]
    assert main([*given, *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"driftserve_pipeline: {reason}", line)


def test_the_error_of_the_renderer_is_passed_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = tmp_path / "sdk"
    python.write_text("#!/bin/sh\necho a warning >&2\necho driftserve-pipeline: no SDK >&2\nexit 2\n")
    python.chmod(0o755)
    assert main(["--work", str(tmp_path / "w"), "--images", str(tmp_path), "--pipeline-python", str(python)]) == 2
    assert capsys.readouterr().err == "driftserve_pipeline: no SDK\n"


@pytest.mark.parametrize("run", [main, containers.main], ids=["processes", "containers"])
def test_a_work_folder_with_files_of_somebody_else_is_refused(
    run: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.mar").touch()
    (tmp_path / "pipeline.json").write_text("mine")
    given = ["--work", str(tmp_path), "--images", str(tmp_path), "--pipeline-python", "python"]
    assert run(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"driftserve_pipeline: {tmp_path}: expected an empty directory, or one that driftserve made")
    assert (tmp_path / "model" / "mine.mar").exists()
    assert (tmp_path / "pipeline.json").read_text() == "mine"


@pytest.mark.parametrize(
    "flags",
    [
        ["--images", "images"],
        ["--pipeline-python", "python"],
        ["--definition", "pipeline.json", "--images", "images"],
        ["--definition", "pipeline.json", "--weights", "w.safetensors"],
    ],
)
def test_a_definition_must_be_given_or_rendered(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"2"):
        main(flags)
    assert "expected --definition" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("accuracy", "beats"), [("0.7499", "1"), ("0.9", "0")], ids=["below the threshold", "no better than the champion"]
)
def test_a_bad_model_ends_in_the_fail_step_with_its_reason(
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    accuracy: str,
    beats: str,
) -> None:
    monkeypatch.setenv("FAKE_ACCURACY", accuracy)
    monkeypatch.setenv("FAKE_BEATS", beats)
    assert main(_flags(RENDERED, tmp_path / "work", image, PARAMETERS)) == 1
    said = capsys.readouterr()
    assert said.err == "driftserve_pipeline: failed: Refuse: Nothing was registered: not good enough\n"
    assert "Register" not in said.out


def test_a_search_gets_its_ranges_and_fixed_values_and_its_best_is_trained(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    flags = _flags(SEARCHING, work, image, SEARCHED)
    assert main(flags) == 1  # Evaluate fails: FAKE_ACCURACY is not set
    monkeypatch.setenv("FAKE_ACCURACY", "0.9")
    monkeypatch.setenv("FAKE_BEATS", "1")
    assert main(flags) == 0
    said = capsys.readouterr().out
    assert re.search(r"^Tune .* s  model mobilenetv2_035, optimizer sgd, learning_rate 0.00789$", said, re.MULTILINE)
    assert re.search(r"^Tune .* already done", said, re.MULTILINE)
    program, *arguments = json.loads((_base(work, "Tune") / "arguments.json").read_text())
    pairs = [*zip(arguments[::2], arguments[1::2], strict=True)]
    assert program == "tune"
    assert [pair for pair in pairs if pair[0] != "--fixed"] == [
        ("--choice", "model=mobilenetv2_035,mobilenetv2_100"),
        ("--choice", "optimizer=adamw,sgd"),
        ("--range", "learning_rate=0.001,0.01"),
        ("--trials", "12"),
    ]
    hyperparameters = json.loads((_base(work, "Train") / "input/config/hyperparameters.json").read_text())
    chosen = {name: hyperparameters.pop(name) for name in ("model", "optimizer", "learning_rate")}
    assert chosen == {"model": "mobilenetv2_035", "optimizer": "sgd", "learning_rate": "0.00789"}
    assert dict(value.split("=") for flag, value in pairs if flag == "--fixed") == hyperparameters


def test_an_unsupported_search_is_refused_before_anything_runs(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "pipeline.json"
    other.write_text(SEARCHING.read_text().replace("ContinuousParameterRanges", "IntegerParameterRanges"))
    assert main(_flags(other, tmp_path / "work", image, SEARCHED)) == 2
    assert re.search(r"Tune: expected one TrainingJobDefinition, .* IntegerParameterRanges", capsys.readouterr().err)
    assert main(_flags(SEARCHING, tmp_path / "work", image, SEARCHED | {"InstanceCount": "2"})) == 2
    assert "Tune: expected one host, because there is one machine, got 2" in capsys.readouterr().err


@dataclass(frozen=True)
class _Whole:
    """A run with the real programs that was killed during training and then resumed."""

    work: Path
    killed: str
    said: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, warm: WarmInterpreter) -> _Whole:
    folder = tmp_path_factory.mktemp("whole")
    write_dataset(folder / "data", {"train": 16, "val": 8, "test": 4}, seed=5)
    for label in (folder / "data").glob("*/*"):
        if label.name not in ("forest", "sea"):  # few images: every step copies them to S3 and back
            shutil.rmtree(label)
    # As settings could do: without corruptions, explanations and downloaded weights.
    rendered = RENDERED.read_text().replace('"240"', '"0"').replace('"12"', '"0"')
    rendered = rendered.replace('"pretrained": "true"', '"pretrained": "false"')
    (folder / "pipeline.json").write_text(rendered)
    small = {"Model": "test_resnet", "ImageSize": "48", "Epochs": "4", "BatchSize": "16", "AccuracyThreshold": "0.1"}
    parameters = {"TrainLocation": str(folder / "data"), "CodeRevision": "abc123", **small}
    flags = _flags(folder / "pipeline.json", folder / "work", warm.python, parameters)
    environment = {"OMP_NUM_THREADS": "1"}
    with running(
        "driftserve_pipeline.local.processes", *flags, environment=environment, log=folder / "killed"
    ) as first:
        log = lambda: next(iter(folder.glob("work/executions/*/steps/Train/log")), None)  # noqa: E731
        wait_for(lambda: (path := log()) and b"epoch=2 " in path.read_bytes(), 120)
        first.kill()
    said, complaint = StringIO(), StringIO()
    with redirect_stdout(said), redirect_stderr(complaint):  # run here: the steps are processes anyway
        status = main(flags)
    assert status == 0, complaint.getvalue()
    return _Whole(folder / "work", (folder / "killed").read_text(), said.getvalue())


@pytest.mark.timeout(400)  # includes the whole run; a slow machine must not fail the test
def test_the_real_steps_resume_after_a_kill_and_register_the_model(whole: _Whole) -> None:
    assert re.findall(r"^(\w+) +[0-9.]+ s", whole.killed, re.MULTILINE) == ["Fetch", "Preprocess"]
    assert re.findall(r"^(\w+) .*already done", whole.said, re.MULTILINE) == ["Fetch", "Preprocess"]
    epochs = re.findall(r"epoch=(\d) ", (whole.work.glob("executions/*/steps/Train/log").__next__()).read_text())
    assert epochs
    assert epochs[-1] == "4"
    assert "1" not in epochs
    assert re.search(r"^registered .*/scenes/1$", whole.said, re.MULTILINE)


@pytest.mark.timeout(400)
def test_the_registered_archive_is_valid_and_has_its_provenance(
    whole: _Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    assert driftserve.cli.main(["verify", str(whole.work / "model")]) == 0, capsys.readouterr().err
    verified = capsys.readouterr().out
    (record,) = whole.work.glob("executions/*/ended/Register.json")
    metadata = json.loads(record.read_text())["arguments"]["CustomerMetadataProperties"]
    assert verified.split()[1] == metadata["archive_sha256"]
    assert metadata["revision"] == "abc123"
    (execution,) = (path.name for path in (whole.work / "executions").iterdir())
    assert metadata["execution"] == execution
