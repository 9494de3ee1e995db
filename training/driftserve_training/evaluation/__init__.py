"""Evaluation of a trained network: scores with intervals, robustness, attacks, label issues, comparison."""
