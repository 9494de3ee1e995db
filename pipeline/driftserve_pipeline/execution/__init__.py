"""Starts executions of the pipeline, and reads their progress and their logs."""
