"""Drift detection: from rows of features to a verdict."""
