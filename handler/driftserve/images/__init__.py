"""Bytes to pixels: the one decode and the one preprocess that training and serving share."""
