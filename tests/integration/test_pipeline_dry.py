"""Run pipelines as local processes, as SageMaker would run their definitions."""

import json
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from driftserve.host.claim import claim
from driftserve_pipeline.local.aws import local_aws, make_client
from driftserve_pipeline.local.processes.__main__ import main
from driftserve_pipeline.registry import list_versions
from processes import is_alive, running, wait_for
from service_models import service_models_read_once
from small_pipelines import (
    below_run,
    condition,
    definition,
    fail,
    get,
    json_get,
    output_of,
    processing,
    registration,
    training,
)

# Start of every program here: define its folders; add a line to a diary outside the run each time it starts.
PREAMBLE = """
import json, os, pathlib, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
out = base / "processing/output/out"
diary = pathlib.Path(__file__).with_suffix(".diary")
def say(text):
    with diary.open("a") as file:
        file.write(f"{text}\\n")
def fail(reason):
    (base / "output/message").write_text(reason)
    sys.exit(reason)
say(f"began {os.getpid()}")
"""


class Scenario:
    """A folder with programs, a definition and a work folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"

    def program(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.py"
        path.write_text(PREAMBLE + text)
        return path

    def diary(self, name: str) -> list[str]:
        path = self.folder / f"{name}.diary"
        return path.read_text().splitlines() if path.exists() else []

    def began(self, name: str) -> int:
        return sum(line.startswith("began") for line in self.diary(name))

    def arguments(self, defined: bytes, *parameters: str) -> list[str]:
        path = self.folder / "pipeline.json"
        path.write_bytes(defined)
        given = [part for parameter in parameters for part in ("--param", parameter)]
        return ["--definition", str(path), "--work", str(self.work), "--training-python", sys.executable, *given]

    def run(self, defined: bytes, *parameters: str) -> int:
        return main(self.arguments(defined, *parameters))


@pytest.fixture(scope="module", autouse=True)
def _service_models() -> Iterator[None]:
    with service_models_read_once():
        yield


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path)


def _decided(scenario: Scenario) -> bytes:
    """Return a definition Make -> Train -> Judge -> Decide -> Register or Refuse, with programs that take no time."""
    make = scenario.program(
        "make", "(out / 'images').mkdir(); (out / 'images/a.txt').write_text(' '.join(sys.argv[1:]))"
    )
    train = scenario.program(
        "train",
        "told = json.loads((base / 'input/config/hyperparameters.json').read_text())\n"
        "assert (base / 'input/data/data/images/a.txt').read_text() == '--epochs 3 --rate 0.003', told\n"
        "print('epoch=1 val_accuracy=0.5'); print('epoch=2 val_accuracy=0.75')\n"
        "(base / 'model/network.txt').write_text(json.dumps(told))",
    )
    judge = scenario.program(
        "judge",
        "import tarfile\n"
        "assert [path.name for path in (base / 'processing/input/run').iterdir()] == ['model.tar.gz']\n"
        "verdict = {'accuracy': float(sys.argv[1]), 'reason': 'too bad', 'n': {'is': [7]}}\n"
        "(out / 'verdict.json').write_text(json.dumps(verdict))\n"
        "(out / 'm.mar').write_text('archive')\n"
        "tarfile.open(out / 'model.tar.gz', 'w:gz').add(out / 'm.mar', 'm.mar')",
    )
    rate = {"Std:Join": {"On": "", "Values": [get("Parameters.Rate")]}}
    epochs = {"Std:Join": {"On": "", "Values": [get("Parameters.Epochs")]}}
    accuracy = json_get("Judge", "Verdict", "accuracy")
    return definition(
        # deliberately not in the order of execution
        condition(
            "Decide",
            [
                {"Type": "GreaterThanOrEqualTo", "LeftValue": accuracy, "RightValue": get("Parameters.Threshold")},
                {"Type": "Equals", "LeftValue": json_get("Judge", "Verdict", "n.is[0]"), "RightValue": 7},
            ],
            [registration("Register", "scenes", below_run("judge/model.tar.gz"), accuracy=get("Parameters.Accuracy"))],
            [fail("Refuse", {"Std:Join": {"On": ": ", "Values": ["refused", json_get("Judge", "Verdict", "reason")]}})],
        ),
        processing(
            "Judge",
            judge,
            get("Parameters.Accuracy"),
            inputs={"run": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")},
            files={"Verdict": "verdict.json"},
        ),
        training("Train", train, {"data": output_of("Make")}, epochs=epochs, revision="abc"),
        processing("Make", make, "--epochs", epochs, "--rate", rate),
        Epochs=3,
        Rate=0.003,
        Accuracy="0.9",
        Threshold=0.85,
    )


def test_a_good_model_is_registered_and_its_archive_can_be_served(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scenario.run(_decided(scenario)) == 0
    said = capsys.readouterr().out
    steps = [line.split()[0] for line in said.splitlines()[1:-2]]
    assert steps == ["Make", "Train", "Judge", "Decide", "Register"]
    assert "Train" in said
    assert "val_accuracy 0.7500" in said
    assert re.search(r"^registered arn:aws:sagemaker:.*/scenes/1$", said, re.MULTILINE)
    assert (scenario.work / "model" / "m.mar").read_text() == "archive"
    (told,) = scenario.work.glob("executions/*/steps/Train/ml/input/config/hyperparameters.json")
    assert json.loads(told.read_text()) == {"epochs": "3", "revision": "abc"}


def test_a_model_below_the_threshold_fails_with_the_reason_from_its_evaluation(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scenario.run(_decided(scenario), "Accuracy=0.5") == 1
    said = capsys.readouterr()
    assert said.err == "driftserve_pipeline: failed: Refuse: refused: too bad\n"
    assert "Register" not in said.out
    assert not (scenario.work / "model").exists()


def test_a_failed_step_ends_the_execution_with_its_reason(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    first = processing("First", scenario.program("first", "fail('forest/7.jpg: expected an image, got 3 bytes')"))
    second = processing("Second", scenario.program("second", ""), inputs={"data": output_of("First")})
    assert scenario.run(definition(first, second)) == 1
    log = scenario.work / "executions" / _only(scenario.work / "executions") / "steps/First/log"
    assert capsys.readouterr().err == (
        "driftserve_pipeline: failed: First: forest/7.jpg: expected an image, got 3 bytes "
        f"(exit status 1; log: {log})\n"
    )
    assert scenario.began("second") == 0


def test_the_reason_of_a_step_without_a_message_is_the_last_line_of_its_log(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scenario.run(definition(processing("Only", scenario.program("only", "raise KeyError('x')")))) == 1
    assert "failed: Only: KeyError: 'x' (exit status 1" in capsys.readouterr().err


def test_a_missing_input_fails_before_the_program_starts(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    make = processing("Make", scenario.program("make", "(out / 'a').touch()"))
    only = processing("Only", scenario.program("only", ""), inputs={"data": below_run("mak")})
    only["DependsOn"] = ["Make"]  # its outputs are below `make`, not below `mak`
    assert scenario.run(definition(make, only)) == 1
    assert re.search(r"failed: Only: expected S3 objects under .* got none", capsys.readouterr().err)
    assert scenario.began("only") == 0


def test_a_successful_execution_is_not_repeated_but_a_different_one_runs(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    defined = _decided(scenario)
    for parameters in (), (), ("Threshold=0.8",):
        assert scenario.run(defined, *parameters) == 0
    assert (scenario.began("make"), scenario.began("train")) == (2, 2)
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Make") for line in said) == 2
    registered = [line for line in said if line.startswith("registered")]
    assert [line.rsplit("/", 1)[1] for line in registered] == ["1", "1", "2"]


def test_an_execution_that_is_not_repeated_provides_its_own_archive(scenario: Scenario) -> None:
    write = (
        "import tarfile\n"
        "(out / 'm.mar').write_text(sys.argv[1])\n"
        "tarfile.open(out / 'model.tar.gz', 'w:gz').add(out / 'm.mar', 'm.mar')"
    )
    make = processing("Make", scenario.program("make", write), get("Parameters.Text"))
    register = registration("Register", "scenes", below_run("make/model.tar.gz"))
    register["DependsOn"] = ["Make"]
    defined, served = definition(make, register, Text="a"), scenario.work / "model"
    for text in "a", "b", "a":
        assert scenario.run(defined, f"Text={text}") == 0
        assert (served / "m.mar").read_text() == text
    for folder in served, *scenario.work.glob("executions/*/model"):
        shutil.rmtree(folder)
        assert scenario.run(defined, "Text=b") == 0
        assert (served / "m.mar").read_text() == "b"
    assert scenario.began("make") == 2


def test_a_given_registry_server_receives_the_version(scenario: Scenario) -> None:
    defined = scenario.arguments(_decided(scenario))
    with local_aws(None) as environment:
        assert main([*defined, "--endpoint-url", environment["AWS_ENDPOINT_URL"]]) == 0
        (version,) = list_versions(make_client("sagemaker", environment), "scenes")
    assert (version.version, version.status, version.image) == (1, "PendingManualApproval", "serving")
    assert version.metadata == {"accuracy": "0.9"}
    execution = _only(scenario.work / "executions")
    assert version.model_data_url == f"s3://bucket/p/executions/{execution}/judge/model.tar.gz"
    with local_aws(None) as environment:
        assert list_versions(make_client("sagemaker", environment), "scenes") == ()


def test_uploads_are_in_s3_before_the_steps_run(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    (scenario.folder / "weights.json").write_text("{}")
    only = scenario.program("only", "say((base / 'processing/input/weights/w.json').read_text())")
    step = processing("Only", only, inputs={"weights": "s3://elsewhere/weights"})
    flags = ["--upload", f"{scenario.folder / 'weights.json'}=s3://elsewhere/weights/w.json"]
    assert main([*scenario.arguments(definition(step)), *flags]) == 0
    assert scenario.diary("only")[1] == "{}"
    assert capsys.readouterr().out.endswith("succeeded; there was nothing to register\n")
    (scenario.folder / "weights.json").write_text("[]")  # different content, same name
    assert main([*scenario.arguments(definition(step)), *flags]) == 0
    assert scenario.diary("only")[3] == "[]"


def test_different_images_in_the_same_folder_start_another_execution(scenario: Scenario) -> None:
    folder = scenario.folder / "images"
    folder.mkdir()
    only = processing("Only", scenario.program("only", ""), get("Parameters.SourceDigest"))
    defined = definition(only, TrainLocation="none", SourceDigest="none")
    for text in "a", "a", "b":
        (folder / "image").write_text(text)
        assert scenario.run(defined, f"TrainLocation={folder}") == 0
    assert scenario.began("only") == 2


def test_a_missing_upload_is_refused_before_anything_runs(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    only = scenario.arguments(definition(processing("Only", scenario.program("only", ""))))
    assert main([*only, "--upload", f"{scenario.folder / 'weihgts'}=s3://elsewhere/weights"]) == 2
    assert "weihgts: expected a file or a folder for s3://elsewhere/weights, got neither" in capsys.readouterr().err
    assert scenario.began("only") == 0


def test_different_annotations_in_the_same_file_start_another_execution(scenario: Scenario) -> None:
    release = scenario.folder / "release.json"
    only = processing("Only", scenario.program("only", ""), get("Parameters.AnnotationRelease"))
    for text in "a", "a", "b":
        release.write_text(text)
        assert scenario.run(definition(only, AnnotationRelease="none"), f"AnnotationRelease={release}") == 0
    assert scenario.began("only") == 2


def test_a_run_with_again_keeps_nothing_of_the_earlier_one(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = scenario.arguments(_decided(scenario))
    for more in [], [], ["--again"]:
        assert main([*arguments, *more]) == 0
    said = capsys.readouterr().out
    assert (said.count("already done; use --again"), scenario.began("make"), scenario.began("train")) == (1, 2, 2)
    assert re.findall(r"^registered .*/(\d)$", said, re.MULTILINE) == ["1", "1", "1"]


def test_again_is_refused_with_a_registry_that_would_keep_the_earlier_version(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"2"):
        main([*scenario.arguments(_decided(scenario)), "--again", "--endpoint-url", "http://127.0.0.1:9"])
    assert "expected --again without --endpoint-url" in capsys.readouterr().err


def test_a_relative_location_is_relative_to_the_current_folder(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scenario.folder / "images").write_text("an image")
    monkeypatch.chdir(scenario.folder)
    only = scenario.program("only", "for path in sys.argv[1:]: say(pathlib.Path(path).read_text())")
    names = ("TrainLocation", "TestLocation", "AnnotationRelease")
    step = processing("Only", only, *(get(f"Parameters.{name}") for name in names))
    assert scenario.run(definition(step, **dict.fromkeys(names, "none")), *(f"{name}=images" for name in names)) == 0
    assert scenario.diary("only")[1:] == ["an image"] * 3


def test_the_last_value_of_a_parameter_holds_because_make_gives_its_own_first(scenario: Scenario) -> None:
    only = scenario.program("only", "say(sys.argv[1])")
    defined = definition(processing("Only", only, get("Parameters.Text")), Text="none")
    assert scenario.run(defined, "Text=make's", "Text=the user's") == 0
    assert scenario.diary("only")[1:] == ["the user's"]


def test_other_files_beside_the_executions_are_ignored(scenario: Scenario) -> None:
    claim(scenario.work, "")
    (scenario.work / "executions").mkdir()
    (scenario.work / "executions" / "notes.txt").touch()
    assert scenario.run(definition(processing("Only", scenario.program("only", "")))) == 0


@pytest.mark.parametrize("victim", ["step", "runner"])
def test_a_killed_run_is_completed_without_repeating_finished_steps(scenario: Scenario, victim: str) -> None:
    """Training resumes from its last checkpoint."""
    make = processing("Make", scenario.program("make", "(out / 'a').touch()"))
    program = scenario.program(
        "train",
        "import signal\n"
        "def end(*_):\n"
        "    time.sleep(2)\n"
        "    say('ended')\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "kept = base / 'checkpoints/kept'\n"
        "say(f'goes on from {kept.read_text()}' if kept.exists() else 'starts')\n"
        "if not kept.exists():\n"
        "    kept.write_text('epoch 3')\n"
        "    say('kept')\n"
        "    time.sleep(300)\n",
    )
    train = training("Train", program, {"data": output_of("Make")})
    after = processing(
        "After", scenario.program("after", ""), inputs={"run": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}
    )
    arguments = scenario.arguments(definition(make, train, after))
    with running(
        "driftserve_pipeline.local.processes", *arguments, environment={}, log=scenario.folder / "log"
    ) as runner:
        wait_for(lambda: "kept" in scenario.diary("train"))
        step = psutil.Process(int(scenario.diary("train")[0].removeprefix("began ")))
        (step if victim == "step" else runner).kill()
        assert runner.wait(30) == (1 if victim == "step" else -signal.SIGKILL)
    if victim == "step":
        assert "failed: Train: ended without any output (exit status 137" in (scenario.folder / "log").read_text()
    # Start at once: the rest of the first run holds the lock until it has ended.
    assert main(arguments) == 0
    assert not is_alive(step)
    told = [line for line in scenario.diary("train") if line != f"began {step.pid}"]
    assert told[:-2] == (["starts", "kept"] if victim == "step" else ["starts", "kept", "ended"])
    assert told[-1] == "goes on from epoch 3"
    assert [scenario.began(name) for name in ("make", "train", "after")] == [1, 2, 1]


def test_a_stopped_runner_leaves_no_step_running(scenario: Scenario) -> None:
    only = scenario.program("only", "time.sleep(300)")
    arguments = scenario.arguments(definition(processing("Only", only)))
    with running(
        "driftserve_pipeline.local.processes", *arguments, environment={}, log=scenario.folder / "log"
    ) as runner:
        wait_for(lambda: scenario.diary("only"))
        step = psutil.Process(int(scenario.diary("only")[0].removeprefix("began ")))
        runner.terminate()
        assert runner.wait(30) == 128 + signal.SIGTERM
    assert not is_alive(step)


@pytest.mark.parametrize("good", [True, False], ids=["succeeds", "fails"])
def test_two_concurrent_runs_make_one_execution_with_one_result(scenario: Scenario, good: bool) -> None:
    go = scenario.folder / "go"
    text = f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)\n"
    only = scenario.program("only", text + ("" if good else "fail('no')"))
    arguments = scenario.arguments(definition(processing("Only", only)))
    logs = [scenario.folder / "first", scenario.folder / "second"]
    start = partial(running, "driftserve_pipeline.local.processes", *arguments, environment={})
    with start(log=logs[0]) as first, start(log=logs[1]) as second:
        wait_for(lambda: any("another run uses the folder" in log.read_text() for log in logs))
        go.touch()  # not earlier: a run does not adopt an execution that had already failed
        assert [first.wait(30), second.wait(30)] == ([0, 0] if good else [1, 1])
    assert scenario.began("only") == 1
    last = [log.read_text().splitlines()[-1] for log in logs]
    assert last[0] == last[1]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"Name": "Ask", "Type": "Lambda", "Arguments": {}}, "Ask: expected a step of one of the types .* got Lambda"),
        (fail("Refuse", {"Std:Split": {}}), "Refuse: expected the expressions Get, .* got Std:Split"),
        (fail("Refuse", get("Parameters.Nobody")), "Refuse: Parameters.Nobody: expected the key 'Nobody'"),
        (fail("Refuse", get("Steps.Nobody.X")), "Refuse: expected to wait for .* got 'Nobody'"),
        (fail("Refuse", get("Steps.Make.ModelArtifacts.S3ModelArtifacts")), "expected the key 'ModelArtifacts'"),
        (
            fail("Refuse", json_get("Make", "Card", "x")),
            "Refuse: Steps.Make.PropertyFiles.Card: expected the key 'Card'",
        ),
        (fail("Refuse", get("Execution.Colour")), "Refuse: Execution.Colour: expected the key 'Colour'"),
        (condition("Decide", [{"Type": "And"}], [], []), "Decide: expected a condition of type .* got {'Type': 'And'}"),
        (fail("Make", "twice"), "expected a unique name for every step"),
        (fail("../Make", "outside"), r"expected names of steps that match .*, got '\.\./Make'; rename the step"),
    ],
)
def test_an_unsupported_step_is_refused_before_anything_runs(
    scenario: Scenario, capsys: pytest.CaptureFixture[str], step: dict[str, Any], reason: str
) -> None:
    make = processing("Make", scenario.program("make", ""))
    assert scenario.run(definition(make, step)) == 2
    said = capsys.readouterr()
    assert re.search(reason, said.err)
    assert len(said.err.splitlines()) == 1
    assert scenario.began("make") == 0


def test_a_job_that_cannot_run_locally_is_refused_before_anything_runs(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    make, odd = (processing(name, scenario.program("make", "")) for name in ("Make", "Odd"))
    odd["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = ["bash", "-c", "x"]
    assert scenario.run(definition(make, odd)) == 2
    assert "Odd: expected the program /opt/venv/bin/python or `train`, got bash -c x" in capsys.readouterr().err
    assert scenario.began("make") == 0


def test_a_number_where_sagemaker_needs_a_string_is_refused(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    make = processing("Make", scenario.program("make", ""), get("Parameters.Epochs"))
    assert scenario.run(definition(make, Epochs=3)) == 2
    assert "Make: expected a string in ContainerArguments, got Parameters.Epochs, which is" in capsys.readouterr().err


def test_arguments_that_sagemaker_would_refuse_fail_their_step(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    make = processing("Make", scenario.program("make", ""))
    make["Arguments"]["Colour"] = "red"
    assert scenario.run(definition(make)) == 1
    assert 'Unknown parameter in input: "Colour"' in capsys.readouterr().err
    assert scenario.began("make") == 0


def _only(folder: Path) -> str:
    (path,) = folder.iterdir()
    return path.name
