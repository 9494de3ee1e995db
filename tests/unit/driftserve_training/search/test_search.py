import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from checkout import TESTS
from driftserve.errors import DataError
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.manifest import Manifest
from driftserve_training.parameters import read_yaml
from driftserve_training.search.ledger import ERROR, RETRY, find_attempt, read_ledger
from driftserve_training.search.plan import check_same_search, identify, make_plan
from driftserve_training.search.plots import draw_history, draw_importances, importances
from driftserve_training.search.ranking import complete, rank
from driftserve_training.search.report import WinnerScores, write_table, write_trials, write_winner
from driftserve_training.search.scoring import Assignment, EpochCallback, Outcome
from driftserve_training.search.space import Point, Space
from driftserve_training.search.storage import open_database, open_study
from driftserve_training.search.trial import Training
from fake_searches import SPACE, accuracy_of, fake_training, main, plan_of, search
from processes import running, wait_for

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
TPE = {"sampler": "tpe", "pruner": "none"}


class FakeTraining:
    """A fake training that records its assignments and raises `error` at trial `at`."""

    def __init__(self, at: int | None = None, error: BaseException | None = None) -> None:
        self.seen: list[Assignment] = []
        self._at, self._error = at, error

    def __call__(self, assignment: Assignment, on_epoch: EpochCallback) -> Outcome:
        self.seen.append(assignment)
        if assignment.number == self._at and self._error is not None:
            raise self._error
        return fake_training(assignment, on_epoch)

    @property
    def numbers(self) -> list[int]:
        return [assignment.number for assignment in self.seen]


def test_a_grid_search_runs_each_combination_once_in_order(tmp_path: Path) -> None:
    training = FakeTraining()
    search(tmp_path, plan_of(tmp_path, pruner="none"), training)
    assert [assignment.point for assignment in training.seen] == list(SPACE.combinations())


def test_a_finished_search_trains_nothing(tmp_path: Path) -> None:
    search(tmp_path, plan_of(tmp_path))
    training = FakeTraining()
    search(tmp_path, plan_of(tmp_path), training)
    assert training.seen == []


def test_tpe_samples_within_the_range_is_deterministic_and_finds_the_better_model(tmp_path: Path) -> None:
    training, other = FakeTraining(), FakeTraining()
    search(tmp_path / "a", plan_of(tmp_path, trials=30, **TPE), training)
    search(tmp_path / "b", plan_of(tmp_path, trials=30, **TPE), other)
    rates = [assignment.point.learning_rate for assignment in training.seen]
    assert training.seen == other.seen
    assert min(rates) > 0.001
    assert max(rates) < 0.01
    assert len(set(rates)) == 30
    assert abs(np.mean(np.log(rates[:10])) - np.log(0.001 * 0.01) / 2) < 0.5  # log-uniform while it has no results
    assert np.mean([assignment.point.model == "large" for assignment in training.seen[15:]]) > 0.6


def test_an_interrupted_search_continues_with_the_same_samples(tmp_path: Path) -> None:
    whole, begun, rest = FakeTraining(), FakeTraining(), FakeTraining()
    search(tmp_path / "whole", plan_of(tmp_path, trials=14, **TPE), whole)
    search(tmp_path / "parts", plan_of(tmp_path, trials=6, **TPE), begun)
    search(tmp_path / "parts", plan_of(tmp_path, trials=14, **TPE), rest)
    assert whole.seen == begun.seen + rest.seen


def test_a_bad_trial_is_pruned_but_not_among_the_first_or_in_the_last_epoch(tmp_path: Path) -> None:
    points = Space(("large", "hopeless"), ("adamw",), (0.001, 0.002, 0.003, 0.004, 0.01))
    reported: dict[int, list[int]] = {}

    def training(assignment: Assignment, on_epoch: EpochCallback) -> Outcome:
        late = assignment.number == 9  # falls below the median only in the last epoch
        accuracy = accuracy_of(assignment.point)
        for epoch in range(1, 5):
            reported.setdefault(assignment.number, []).append(epoch)
            on_epoch(epoch, 0.85 if late else accuracy + 0.1 * (epoch == 4))
        return Outcome(accuracy)

    plan = plan_of(tmp_path, points)
    states = [trial.state for trial in sorted(rank(search(tmp_path, plan, training), 10), key=lambda each: each.number)]
    assert states == ["complete"] * 5 + ["pruned"] * 4 + ["complete"]
    assert reported[5] == [1]


def test_no_trial_is_pruned_while_only_its_head_is_trained(tmp_path: Path) -> None:
    pretrained = TrainingConfiguration(data=tmp_path, output=tmp_path, head_epochs=2)
    assert make_plan(pretrained, SPACE).warmup_epochs == 3
    assert plan_of(tmp_path).warmup_epochs == 1


def test_a_failed_trial_does_not_stop_the_search_and_the_next_start_retries_it(tmp_path: Path) -> None:
    said: list[str] = []
    plan = plan_of(tmp_path, pruner="none")
    study = search(tmp_path, plan, FakeTraining(2, DataError("no such weights")), say=said.append)
    assert [(trial.number, trial.error) for trial in rank(study, 8) if trial.state == "failed"] == [
        (2, "no such weights")
    ]
    assert len(complete(rank(study, 8))) == 7
    assert "trial 0002 small sgd 0.001: failed: no such weights" in said

    training = FakeTraining()
    study = search(tmp_path, plan, training)
    assert training.seen == [Assignment(2, SPACE.combinations()[2], is_retry=True)]
    assert {trial.state for trial in rank(study, 8)} == {"complete"}


def test_a_retried_trial_keeps_its_parameters(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, trials=20, **TPE)
    first, again = FakeTraining(11, DataError("the disk is full")), FakeTraining()
    search(tmp_path, plan, first)
    search(tmp_path, plan, again)
    assert [assignment.point for assignment in again.seen] == [first.seen[11].point]


def test_a_trial_is_locked_only_while_it_trains(tmp_path: Path) -> None:
    code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"

    def is_free() -> bool:
        locked = [sys.executable, "-c", code, str(tmp_path / "study.locks")]
        return subprocess.run(locked, check=False, stderr=subprocess.DEVNULL).returncode == 0

    seen: list[bool] = []
    search(
        tmp_path,
        plan_of(tmp_path, Space(("small",), ("sgd",), (0.1,))),
        lambda assignment, on_epoch: seen.append(is_free()) or fake_training(assignment, on_epoch),  # type: ignore[func-returns-value]
    )
    assert (seen, is_free()) == ([False], True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug"), SystemExit()], ids=repr)
def test_a_trial_whose_process_ended_is_retried_by_the_next_start(tmp_path: Path, error: BaseException) -> None:
    plan = plan_of(tmp_path, pruner="none")
    with pytest.raises(type(error)):
        search(tmp_path, plan, FakeTraining(3, error))
    training = FakeTraining()
    study = search(tmp_path, plan, training)
    assert sorted(training.numbers) == [3, 4, 5, 6, 7]
    assert [assignment.number for assignment in training.seen if assignment.is_retry] == [3]
    assert [trial.number for trial in complete(rank(study, 8))] == [5, 7, 4, 6, 1, 3, 0, 2]


def test_a_process_presumed_dead_gives_up_its_trial_and_continues(tmp_path: Path) -> None:
    said: list[str] = []
    attempts: list[int] = []

    def training(assignment: Assignment, on_epoch: EpochCallback) -> Outcome:
        attempts.append(assignment.number)
        if attempts == [0, 1]:
            elsewhere = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
            optuna.load_study(storage=elsewhere, study_name="fake").tell(1, state=TrialState.FAIL)
        return fake_training(assignment, on_epoch)

    study = search(tmp_path, plan_of(tmp_path, pruner="none"), training, say=said.append)
    assert said[1] == "trial 0001 was given to another process, because this one seemed dead"
    assert attempts == [0, 1, 1, *range(2, 8)]
    assert len(complete(rank(study, 8))) == 8


def test_an_accuracy_of_nan_fails_its_trial(tmp_path: Path) -> None:
    study = search(tmp_path, plan_of(tmp_path), lambda *_: Outcome(float("nan")))
    assert {trial.error for trial in rank(study, 8)} == {"expected an accuracy to rank the trial by, got nan"}


def test_processes_share_a_search_and_retry_the_trial_of_a_killed_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = ("fake_searches", str(tmp_path), str(log), "-", "2")
    with running(*arguments, environment=ENVIRONMENT, log=tmp_path / "output") as killed, ThreadPoolExecutor() as pool:
        wait_for(lambda: log.exists() and log.read_text().count("\n"))
        other = pool.submit(main, tmp_path, log, None)
        wait_for(lambda: log.read_text().count("ended") == 7)
        assert not other.done()  # it waits for the trial that still seems to run
        killed.kill()
        killed.wait()
        other.result(60)
    lines = log.read_text().splitlines()
    (half,) = [line.split()[1] for line in lines if "endless" in line]
    assert sorted(line for line in lines if "ended" in line) == [f"ended {number}" for number in range(8)]
    assert sorted(line for line in lines if "first" in line) == [f"begun {number} first" for number in range(8)]
    assert [line for line in lines if "again" in line] == [f"begun {half} again"]


def test_the_first_of_two_concurrent_retries_counts() -> None:
    def entry(number: int, state: TrialState, **attributes: object) -> optuna.trial.FrozenTrial:
        made = create_trial(state=state, user_attrs=attributes, value=0.5 if state == TrialState.COMPLETE else None)
        made.number = number
        return made

    ledger = read_ledger(
        [
            entry(0, TrialState.FAIL),
            entry(1, TrialState.FAIL, **{ERROR: "why"}),
            entry(2, TrialState.RUNNING, **{RETRY: [0, 2]}),
            entry(3, TrialState.WAITING, **{RETRY: [0, 2]}),
            entry(4, TrialState.COMPLETE),
        ]
    )
    assert [(attempt.number, attempt.entry.number, attempt.state) for attempt in ledger] == [
        (0, 2, "running"),
        (1, 1, "failed"),
        (2, 4, "complete"),
    ]
    assert find_attempt(ledger, 3) is None


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"epochs": 9}, "epochs"),
        ({"batch_size": 8}, "batch_size"),
        ({"weights": Path("other")}, "weights"),
        ({"augmentation": "b.json"}, "augmentation"),
    ],
    ids=["epochs", "batch size", "weights", "augmentation"],
)
def test_a_study_of_another_search_is_refused(
    tmp_path: Path, changed: dict[str, object], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, text in (("weights", "1"), ("other", "2"), ("a.json", "{}"), ("b.json", "[]")):
        Path(file).write_text(text)
    begun = TrainingConfiguration(
        data=tmp_path, output=tmp_path, weights=Path("weights"), augmentation="a.json", loader_workers=2
    )
    moved = TrainingConfiguration(
        data=Path("/a"), output=Path("/b"), weights=tmp_path / "weights", augmentation=str(tmp_path / "a.json")
    )
    other = begun.model_copy(update=changed)
    identity = identify(make_plan(begun, SPACE), begun, "0a")
    check_same_search(identity, identify(make_plan(moved, SPACE), moved, "0a"), "search")  # the same search
    with pytest.raises(DataError, match=rf"expected {name} .*, as in the study 'search', got .*; give the same value"):
        check_same_search(identity, identify(make_plan(other, SPACE), other, "0a"), "search")
    with pytest.raises(DataError, match="expected images 0a"):
        check_same_search(identity, identify(make_plan(begun, SPACE), begun, "0b"), "search")
    space = Space(("small",), SPACE.optimizers, SPACE.learning_rates)
    with pytest.raises(DataError, match="expected models"):
        check_same_search(identity, identify(make_plan(begun, space), begun, "0a"), "search")


def test_the_journal_keeps_the_identity_of_the_search(tmp_path: Path) -> None:
    search(tmp_path, plan_of(tmp_path))
    with pytest.raises(DataError, match="expected plan grid, as in the study 'fake', got tpe"):
        search(tmp_path, plan_of(tmp_path, trials=3, **TPE))


def test_a_broken_journal_is_an_error(tmp_path: Path) -> None:
    search(tmp_path, plan_of(tmp_path))
    journal = tmp_path / "study.journal"
    journal.write_bytes(b'{"op_code":' + journal.read_bytes())
    with pytest.raises(DataError, match=r"study\.journal: cannot read the study's journal: Expecting"):
        search(tmp_path, plan_of(tmp_path))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql+psycopg://me:secret@127.0.0.1:1/x",
            r"me:\*\*\*@127.0.0.1:1/x: cannot use the database: .*refused",
        ),
        ("nonsense", r"--storage \(no URL\): cannot use the database"),
        (
            "oracle://me:secret@somewhere/x",
            r"oracle://me:\*\*\*@somewhere/x: the driver of the database is not installed",
        ),
    ],
    ids=["nobody there", "no URL", "no driver"],
)
def test_the_error_for_an_unusable_storage_is_one_line_without_the_password(url: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        open_database(url)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"study\.locks: cannot write and lock the file"):
        search(tmp_path / "file", plan_of(tmp_path))


def test_trials_can_be_ranked_by_test_accuracy(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, rank_by="test", pruner="none")
    study = search(tmp_path, plan, lambda assignment, _: Outcome(0.5, 1 - accuracy_of(assignment.point)))
    winner, *_ = ranking = rank(study, 8)
    assert (winner.number, winner.score, winner.val_accuracy) == (0, pytest.approx(0.399), 0.5)
    write_table(ranking, plan, WinnerScores(0, 0.399, 0.4), tmp_path / "table.md")
    table = (tmp_path / "table.md").read_text()
    assert "the winner was selected on this split" in table
    assert "| 1 | 0000 | small | adamw | 0.001 | 0.5000 | 0.3990 |" in table


def test_the_tables_contain_the_results(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    ranking = rank(search(tmp_path, plan, FakeTraining(6, DataError("of a, b"))), 8)
    write_table(ranking, plan, WinnerScores(5, 0.75, 0.7), tmp_path / "table.md")
    write_trials(ranking, tmp_path / "trials.csv")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[2] == "| 1 | 0005 | large | adamw | 0.01 | 0.8100 | 4 | 0 |"
    assert lines[9] == "| failed | 0006 | large | sgd | 0.001 |  | 0 | 0 |"
    assert lines[-1].endswith("The winner was then scored once on the test split: accuracy 0.7500, macro F1 0.7000.")
    assert (tmp_path / "trials.csv").read_text().splitlines()[7] == '6,failed,large,sgd,0.001,,,0,0,"of a, b"'


def test_the_winners_parameters_are_written_as_a_configuration(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    write_winner(rank(search(tmp_path, plan), 8), plan, "fake", tmp_path / "best.yaml")
    assert read_yaml(tmp_path / "best.yaml") == {"model": "large", "optimizer": "adamw", "learning_rate": 0.01}
    first = (tmp_path / "best.yaml").read_text().splitlines()[0]
    assert first == "# The winner of the search 'fake': trial 0005 of 8 trials, validation accuracy 0.8100."


def test_the_decisive_parameter_is_the_most_important(tmp_path: Path) -> None:
    space = Space(("small", "large"), ("adamw", "sgd", "lamb"), (0.001, 0.002, 0.003))
    accuracies = {"small": 0.6, "large": 0.8}
    plan = plan_of(tmp_path, space, pruner="none")
    shares = importances(search(tmp_path, plan, lambda assignment, _: Outcome(accuracies[assignment.point.model])))
    assert sum(shares.values()) == pytest.approx(1)
    assert next(iter(shares)) == "model"
    assert shares["optimizer"] == pytest.approx(0, abs=0.01)


def test_the_plots_are_drawn_even_for_a_single_trial(tmp_path: Path) -> None:
    one = Space(("small",), ("adamw",), (0.001,))
    study = search(tmp_path, plan_of(tmp_path, one))
    assert importances(study) == {}
    draw_importances(importances(study), tmp_path / "importances.png")
    draw_history(rank(study, 1), "validation", tmp_path / "history.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("importances.png", "history.png"))


def test_the_fields_of_a_point_are_fields_of_the_configuration() -> None:
    assert set(Point.__dataclass_fields__) <= set(TrainingConfiguration.model_fields)


def test_a_folder_that_is_no_trial_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "trials" / "0003" / "mine"
    kept.parent.mkdir(parents=True)
    kept.touch()
    configuration = TrainingConfiguration(data=tmp_path, output=tmp_path, pretrained=False)
    training = Training(configuration, plan_of(tmp_path), Manifest(tmp_path, ()))
    with pytest.raises(DataError, match=r"trials/0003: expected no such folder, or that of a trial"):
        training(Assignment(3, SPACE.combinations()[3], is_retry=False), lambda *_: None)
    assert kept.exists()


def test_a_search_that_continues_with_another_version_of_a_library_reports_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage, pruner = InMemoryStorage(), NopPruner()
    study = open_study(storage, "search", pruner, {})
    open_study(storage, "search", pruner, {})
    assert not caplog.records
    study.set_user_attr("libraries", study.user_attrs["libraries"] | {"opencv-python-headless": "4.12.0.88"})
    open_study(storage, "search", pruner, {})
    (line,) = caplog.messages
    assert line.startswith("search: the run began with opencv-python-headless 4.12.0.88 (now ")
