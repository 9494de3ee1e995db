"""Destinations of metrics. Each implements `driftserve.metrics.definitions.Sink`."""
