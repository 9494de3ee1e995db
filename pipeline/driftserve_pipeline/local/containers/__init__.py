"""The pipeline in containers, by SageMaker's local mode."""
