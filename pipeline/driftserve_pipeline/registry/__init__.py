"""The model registry, with the versions of the model and the champion, the newest approved version."""

from driftserve_pipeline.registry.versions import ModelVersion, champion, list_versions

__all__ = ["ModelVersion", "champion", "list_versions"]
