"""Executions of the pipeline: started once, watched, read."""
