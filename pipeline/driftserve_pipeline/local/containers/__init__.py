"""Run the pipeline in containers, with SageMaker's local mode."""
