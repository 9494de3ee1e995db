"""Fetched images to a data set: checked, labelled, split, under a manifest."""
