"""Runs the pipeline as processes, by interpreting its rendered definition."""
