"""Destinations of metrics. Each class implements `driftserve.metrics.definitions.Sink`."""
