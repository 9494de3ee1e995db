import numpy as np
from scipy.special import softmax

from driftserve.inference.prediction import calibrate, to_prediction


def test_calibration_is_the_softmax_of_logits_divided_by_the_temperature(generator: np.random.Generator) -> None:
    logits = generator.normal(0, 5, (20, 6)).astype(np.float32)
    assert np.allclose(calibrate(logits, 1.7), softmax(logits.astype(np.float64) / 1.7, axis=1), atol=1e-12)


def test_confident_probabilities_are_not_rounded_to_one() -> None:
    probabilities = calibrate(np.array([[30.0, 0, 0], [31.0, 0, 0]], np.float32), 1.0)
    assert probabilities[0, 0] < probabilities[1, 0] < 1.0


def test_huge_logits_do_not_overflow() -> None:
    assert calibrate(np.array([[1e30, -1e30]], np.float32), 1.0).tolist() == [[1.0, 0.0]]


def test_a_prediction_names_the_most_probable_label() -> None:
    prediction = to_prediction(np.array([0.2, 0.7, 0.1]), ("sea", "forest", "street"))
    assert (prediction.label, prediction.score) == ("forest", 0.7)
    assert prediction.probabilities == {"sea": 0.2, "forest": 0.7, "street": 0.1}
