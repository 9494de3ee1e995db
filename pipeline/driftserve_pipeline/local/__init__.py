"""The pipeline without AWS: as processes, or in containers by the SDK's local mode."""
