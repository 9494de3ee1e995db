"""Rows of features to a verdict."""
