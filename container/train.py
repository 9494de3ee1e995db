"""Placeholder until the training job."""
