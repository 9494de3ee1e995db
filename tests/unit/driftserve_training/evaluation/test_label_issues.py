import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from driftserve_training.card.limits import to_limits
from driftserve_training.evaluation.label_issues import find_label_issues, suggest_labels, write_label_issues
from driftserve_training.evaluation.predictions import Predictions
from training_evidence import write_evaluation, write_run

LABELS = ("forest", "glacier", "sea")
# Computed by hand. The thresholds are the means of the probabilities marked *: .55, .45, .69.
WORKED = (
    ("forest", (0.90, 0.05, 0.05)),  # *.90: keeps its label
    ("forest", (0.20, 0.10, 0.70)),  # *.20: sea reaches .69
    ("forest", (0.30, 0.55, 0.15)),  # *.30: glacier reaches .45
    ("forest", (0.80, 0.10, 0.10)),  # *.80: keeps its label
    ("glacier", (0.45, 0.50, 0.05)),  # *.50: keeps its label
    ("glacier", (0.52, 0.40, 0.08)),  # *.40: forest is higher, but below .55
    ("sea", (0.02, 0.08, 0.90)),  # *.90: keeps its label
    ("sea", (0.06, 0.46, 0.48)),  # *.48: glacier reaches .45, but sea is higher
)


def _predictions(rows: tuple[tuple[str, tuple[float, ...]], ...]) -> Predictions:
    targets, probabilities = zip(*rows, strict=True)
    return Predictions(LABELS, tuple(f"{n}.jpg" for n in range(len(rows))), targets, np.array(probabilities))


def test_an_example_computed_by_hand() -> None:
    targets = np.array([LABELS.index(label) for label, _ in WORKED])
    probabilities = np.array([row for _, row in WORKED])
    assert suggest_labels(probabilities, targets).tolist() == [0, 2, 1, 0, 1, 1, 2, 2]


def test_issues_are_written_with_the_widest_margin_first(tmp_path: Path) -> None:
    issues = find_label_issues(_predictions(WORKED))
    write_label_issues(tmp_path / "issues.csv", issues)
    with (tmp_path / "issues.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "label", "suggested_label", "label_probability", "suggested_probability", "rank"],
        ["1.jpg", "forest", "sea", "0.2", "0.7", "1"],
        ["2.jpg", "forest", "glacier", "0.3", "0.55", "2"],
    ]


def test_the_threshold_of_a_class_follows_the_networks_confidence_in_it() -> None:
    """The network predicts sea at .9, so .8 is too low to suggest sea. It predicts glacier at .5, so .6 is enough."""
    sure = [("sea", (0.05, 0.05, 0.9))] * 3 + [("glacier", (0.25, 0.5, 0.25))] * 3
    issues = find_label_issues(_predictions((*sure, ("forest", (0.1, 0.1, 0.8)), ("forest", (0.1, 0.6, 0.3)))))
    assert [(issue.path, issue.suggested_label) for issue in issues] == [("7.jpg", "glacier")]


def test_a_class_without_images_is_never_suggested() -> None:
    assert suggest_labels(np.array([[0.0, 0.0, 1.0], [0.4, 0.6, 0.0]]), np.array([0, 1])).tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_most_flipped_labels_are_found_and_corrected(seed: int) -> None:
    """Four overlapping normal distributions, classified by Bayes' rule (about 93 % right); 5 % of labels are wrong."""
    generator = np.random.default_rng(seed)
    right = generator.integers(0, 4, 2000)
    densities = stats.norm.pdf(generator.normal(4.0 * right, 1.0)[:, None], 4.0 * np.arange(4))
    probabilities = densities / densities.sum(axis=1, keepdims=True)
    flipped = generator.choice(2000, 100, replace=False)
    targets = right.copy()
    targets[flipped] = (right[flipped] + generator.integers(1, 4, 100)) % 4
    suggested = suggest_labels(probabilities, targets)
    issues = np.flatnonzero(suggested != targets)
    assert np.isin(flipped, issues).mean() > 0.85
    assert np.isin(issues, flipped).mean() > 0.7
    assert (suggested[flipped] == right[flipped]).mean() > 0.85


def test_the_card_states_the_number_of_doubtful_labels(tmp_path: Path) -> None:
    write_run(tmp_path)
    limits = " ".join(to_limits(write_evaluation(tmp_path, label_issues=4), None))
    assert "Of the 30 evaluated images, 4 have a label that the network contradicts" in limits
    assert "contradicts" not in " ".join(to_limits(write_evaluation(tmp_path, label_issues=0), None))
