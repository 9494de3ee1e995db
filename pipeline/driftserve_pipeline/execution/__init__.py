"""Start executions of the pipeline, and read their progress and their logs."""
