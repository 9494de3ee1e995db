"""Run the pipeline as processes, by interpreting its rendered definition."""
