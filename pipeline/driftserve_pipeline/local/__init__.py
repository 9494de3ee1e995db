"""Run the pipeline without AWS: as processes, or in containers with the SDK's local mode."""
