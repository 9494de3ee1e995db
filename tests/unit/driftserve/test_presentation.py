import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftserve import presentation
from driftserve.archive.contract import Contract

MODEL = {
    "name": "scenes/1",
    "state": "OK",
    "windows": 3,
    "long_windows": 0,
    "alarms": 0,
    "observations": 650,
    "dropped": 2,
    "overrides": [],
    "calibration": {"state": "CALIBRATING", "source": None, "progress": 0.14},
    "last_report": {"ended_at": 1000.0, "verdict": "OK"},
    "last_long_report": None,
}

CALIBRATED = {"calibration": {"state": "CALIBRATED", "source": "own traffic", "progress": 1.0}}


def _table(*models: dict[str, object], **more: object) -> list[str]:
    return presentation.table({"models": dict(enumerate(models)), **more}, now=1090.0).splitlines()


def test_the_status_is_a_table_with_one_line_per_model() -> None:
    other = MODEL | CALIBRATED | {"name": "other/12", "last_report": None}
    lines = _table(MODEL, other, lost={"queue_full": 0}, silent_seconds=0.2)
    columns = "name state windows long windows alarms observations dropped calibrated window age"
    assert " ".join(lines[0].split()) == columns
    assert [line.split() for line in lines[1:]] == [
        ["scenes/1", "OK", "3", "0", "0", "650", "2", "14%", "90", "s"],
        ["other/12", "OK", "3", "0", "0", "650", "2", "yes", "-"],
    ]
    assert lines[1].index("OK") == lines[2].index("OK")


def test_the_status_shows_overrides_losses_and_silence() -> None:
    overridden = MODEL | {"overrides": ["window_size 50 instead of 200, which ..."]}
    assert _table(overridden, lost={"queue_full": 4, "unknown_model": 0}, silent_seconds=12.0)[2:] == [
        "scenes/1: window_size 50 instead of 200, which ...",
        "lost: queue full 4",
        "the monitor has been silent for 12 s; this status is old",
    ]


def test_the_status_shows_drifted_features_and_the_estimated_accuracy() -> None:
    tests = [
        {"feature": "blocking", "direction": "higher", "statistic": 0.91, "is_drift": True},
        {"feature": "margin", "direction": "lower", "statistic": 0.2, "is_drift": False},
    ]
    report = {"ended_at": 1000.0, "verdict": "DRIFT", "horizon": "long window", "window": 2, "shifts": ["input"]}
    accuracy = {"estimated_accuracy": 0.7, "reference_accuracy": 0.89}
    lines = _table(MODEL | {"state": "DRIFT", "last_long_report": report | accuracy | {"tests": tests}})
    assert lines[2:] == [
        "scenes/1: long window 2 drifted in input: blocking higher (D 0.91); "
        "estimated accuracy 0.700, 0.890 on the reference"
    ]


def test_text_from_an_archive_cannot_add_lines_or_terminal_commands(contract: Contract) -> None:
    plain = presentation.describe(contract, "0" * 64)
    provenance: dict[str, str | int | float] = {"seed": 1, "x\ny": "a\nlabels  fake\x1b[2J"}
    page = presentation.describe(contract.model_copy(update={"provenance": provenance}), "0" * 64)
    assert len(page.splitlines()) == len(plain.splitlines()) + 1
    assert all(line.isprintable() for line in page.splitlines())


def test_the_page_of_an_archive_shows_its_certificate(contract: Contract) -> None:
    page = presentation.describe(contract, "0" * 64)
    lines = dict(re.split("  +", line.strip(), maxsplit=1) for line in page.splitlines())
    assert lines["certificate"] == "short, 5 draws; written by hand for tests"
    assert lines["brightness 1"].startswith(
        "power 0.750 for windows, - for long windows; accuracy 0.900, estimated 0.880"
    )
    assert lines["false alarms, windows of 200"].startswith("rate 0.00000 (95 % bound 0.00300, budget 0.00050")
    too_few = "not measured: 600 images in each half are too few"
    assert lines["false alarms, long windows"] == too_few
    none = contract.certificate.model_copy(update={"false_alarms": ()})
    text = presentation.describe(contract.model_copy(update={"certificate": none}), "0" * 64)
    assert re.search(f"false alarms, windows and long windows +{too_few}", text)


HOSTILE = st.text(st.sampled_from("ab\n\r\t\x07\x1b\x7f\x85\x9b\u2028\u202e\ud800"), min_size=1, max_size=10)


@pytest.mark.fuzz
@given(name=HOSTILE, feature=HOSTILE, cause=HOSTILE, override=HOSTILE)
def test_no_text_of_a_status_adds_lines_or_terminal_commands(
    name: str, feature: str, cause: str, override: str
) -> None:
    drift = {"feature": feature, "direction": "higher", "statistic": 0.9, "is_drift": True}
    report = {"ended_at": 1000.0, "verdict": "DRIFT", "horizon": "window", "window": 2, "shifts": [feature]}
    accuracy = {"estimated_accuracy": 0.7, "reference_accuracy": 0.89}
    model = MODEL | {"name": name, "overrides": [override], "last_report": report | accuracy | {"tests": [drift]}}
    page = presentation.table({"models": {"m": model}, "lost": {cause: 1}}, now=1090.0)
    assert len(page.split("\n")) == 5
    assert page.replace("\n", "").isprintable()
