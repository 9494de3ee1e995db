"""Runs the model on images and answers requests with its predictions."""
