"""A search shared through a real PostgreSQL, by processes without a common folder, as on several machines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftserve_training.search.ranking import rank
from fake_searches import accuracy_of, main, plan_of, search
from postgresql import postgresql
from processes import wait_for
from warm_interpreter import WarmInterpreter

pytestmark = pytest.mark.timeout(900)  # a slow machine must not fail the test
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql() as address:
        yield address


def test_machines_share_a_study_and_retry_the_trial_of_a_dead_one(
    url: str, tmp_path: Path, warm: WarmInterpreter
) -> None:
    log = tmp_path / "log"

    def machine(name: str, *good: str) -> tuple[str, ...]:
        return ("fake_searches", str(tmp_path / name), str(log), url, *good)

    with (
        warm.running(*machine("a", "1"), environment={}, log=tmp_path / "a.log") as killed,
        warm.running(*machine("b"), environment={}, log=tmp_path / "b.log") as other,
    ):
        wait_for(lambda: log.exists() and "endless" in log.read_text(), PATIENCE_SECONDS)
        killed.kill()
        assert other.wait(PATIENCE_SECONDS) == 0, (tmp_path / "b.log").read_text()
    lines = log.read_text().splitlines()
    (half,) = [line.split()[1] for line in lines if "endless" in line]
    assert sorted(line for line in lines if "first" in line) == [f"begun {number} first" for number in range(8)]
    assert [line for line in lines if "again" in line] == [f"begun {half} again"]
    assert sorted(line for line in lines if "ended" in line) == [f"ended {number}" for number in range(8)]

    plan = plan_of(tmp_path, pruner="none")
    main(tmp_path / "c", log, url)  # a third machine, after the end: it trains nothing
    assert log.read_text().splitlines() == lines
    ranking = rank(search(tmp_path / "c", plan, url=url), 8)
    assert {trial.state for trial in ranking} == {"complete"}
    assert [trial.score for trial in ranking] == sorted((trial.score for trial in ranking), reverse=True)
    assert all(trial.point and trial.score == pytest.approx(accuracy_of(trial.point)) for trial in ranking)
