import numpy as np
import numpy.typing as npt
import pytest

from driftserve.drift.calibration import NOT_CALIBRATED, CalibrationProgress, Calibrator
from driftserve.drift.dependence import Differences
from driftserve.drift.reference import Reference, to_reference
from driftserve.drift.report import Calibration
from driftserve.drift.window import count_rows

NAMES = ("probability.a", "probability.b", "embedding.0")
SIZE = 500  # so that 20 windows are enough


def _rows(generator: np.random.Generator, session: int = 1) -> npt.NDArray[np.float64]:
    label = np.repeat(generator.random(-(-SIZE // session)) < 0.5, session)[:SIZE]
    return np.column_stack([np.where(label, 0.9, 0.1), np.where(label, 0.1, 0.9), generator.normal(size=SIZE)])


@pytest.fixture
def reference(generator: np.random.Generator) -> Reference:
    return to_reference(NAMES, np.concatenate([_rows(generator), _rows(generator)]))


def _send(calibrator: Calibrator, reference: Reference, generator: np.random.Generator, *sessions: int) -> None:
    for session in sessions:
        calibrator.add(count_rows(_rows(generator, session), reference))


def test_a_watch_is_calibrated_after_its_first_measurement(
    generator: np.random.Generator, reference: Reference
) -> None:
    calibrator = Calibrator(reference, SIZE)
    assert calibrator.calibration == Calibration("CALIBRATING", None, 0.0)
    _send(calibrator, reference, generator, *[10] * 19)
    assert calibrator.calibration == Calibration("CALIBRATING", None, 0.95)
    assert calibrator.effects is None
    _send(calibrator, reference, generator, 10)
    assert calibrator.calibration == Calibration("CALIBRATED", "own traffic, observations 1 to 10000", 1.0)
    assert calibrator.effects is not None
    assert calibrator.effects.mix > 6  # the upper bound of 10
    assert (calibrator.effects.features >= 1).all()


def test_longer_sessions_calibrate_again_and_shorter_ones_do_not(
    generator: np.random.Generator, reference: Reference
) -> None:
    calibrator = Calibrator(reference, SIZE)
    _send(calibrator, reference, generator, *[5] * 20, *[2] * 20)
    first = calibrator.effects
    assert first is not None
    assert calibrator.calibration.source == "own traffic, observations 1 to 10000"
    _send(calibrator, reference, generator, *[100] * 20)
    assert calibrator.calibration.source == "own traffic, observations 20001 to 30000"
    assert calibrator.effects is not None
    assert calibrator.effects.exceed(first)


def test_another_calibrator_continues_where_one_stopped(reference: Reference) -> None:
    one, other = Calibrator(reference, SIZE), Calibrator(reference, SIZE)
    seeds = [np.random.default_rng(7), np.random.default_rng(7)]
    _send(one, reference, seeds[0], *[3] * 45)
    _send(other, reference, seeds[1], *[3] * 11)
    other = Calibrator(reference, SIZE, other.progress)
    _send(other, reference, seeds[1], *[3] * 34)
    assert one.progress == other.progress


@pytest.mark.parametrize(
    "progress",
    [
        CalibrationProgress(3, Differences(3, (0.1,) * 4, (0.5,) * 4)),  # of a model with other features
        CalibrationProgress(20, effects=(1.0, 1.0), first=1, last=20),
    ],
)
def test_progress_of_another_model_is_not_used(reference: Reference, progress: CalibrationProgress) -> None:
    assert Calibrator(reference, SIZE, progress).progress == NOT_CALIBRATED
