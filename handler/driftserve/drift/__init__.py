"""Detects drift: tests the features of a window of images against a reference, and gives a verdict."""
