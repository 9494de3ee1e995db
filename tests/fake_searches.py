"""Hyperparameter searches with fake trainings: the accuracy is a simple function of the parameters.

`python -m fake_searches FOLDER LOG (STORAGE|-) [COUNT]` runs one search as a process. It writes a line to LOG when a
training begins and when it ends. After COUNT trainings, the next one never ends.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.search.locks import Locks
from driftserve_training.search.plan import Plan, make_plan
from driftserve_training.search.scoring import Assignment, EpochCallback, Outcome, Train, make_pruner
from driftserve_training.search.search import Search
from driftserve_training.search.space import Point, Space
from driftserve_training.search.storage import open_database, open_journal, open_study

SPACE = Space(("small", "large"), ("adamw", "sgd"), (0.001, 0.01))
HEARTBEAT_SECONDS = 1


def plan_of(folder: Path, space: Space = SPACE, epochs: int = 4, **chosen: object) -> Plan:
    configuration = TrainingConfiguration(data=folder, output=folder, epochs=epochs, pretrained=False)
    return make_plan(configuration, space, **chosen)  # type: ignore[arg-type]


def accuracy_of(point: Point) -> float:
    """Return the accuracy of a fake training. It depends mostly on the model and not on the optimizer."""
    return {"small": 0.6, "large": 0.8}.get(point.model, 0.1) + min(point.learning_rate, 0.1)


def fake_training(assignment: Assignment, on_epoch: EpochCallback) -> Outcome:
    for epoch in range(1, 5):
        on_epoch(epoch, accuracy_of(assignment.point))
    return Outcome(accuracy_of(assignment.point))


def search(
    folder: Path,
    plan: Plan,
    train: Train = fake_training,
    url: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> optuna.Study:
    """Run a search in a folder, without the other work of `tune`; return its study."""
    locks = Locks(folder / "study.locks")
    storage = open_database(url, HEARTBEAT_SECONDS) if url else open_journal(folder, locks)
    study = open_study(storage, "fake", make_pruner(plan), {"plan": plan.sampler})
    Search(study, plan, train, locks, url is None, lambda: None, say, pause_seconds=0.1).run()
    return study


def main(folder: Path, log: Path, url: str | None, good: int | None = None) -> None:
    done = 0

    def train(assignment: Assignment, on_epoch: EpochCallback) -> Outcome:
        nonlocal done
        _note(log, f"begun {assignment.number} {'again' if assignment.is_retry else 'first'}")
        if done == good:
            _note(log, f"endless {assignment.number}")
        time.sleep(1000 if done == good else 0.05)
        done += 1
        outcome = fake_training(assignment, on_epoch)
        _note(log, f"ended {assignment.number}")
        return outcome

    search(folder, plan_of(folder, pruner="none"), train, url)


def _note(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        None if sys.argv[3] == "-" else sys.argv[3],
        int(sys.argv[4]) if len(sys.argv) > 4 else None,
    )
