"""The model registry: versions of the model, the champion among them."""

from driftserve_pipeline.registry.versions import ModelVersion, champion, list_versions

__all__ = ["ModelVersion", "champion", "list_versions"]
