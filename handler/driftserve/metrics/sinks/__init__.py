"""Where metrics go; each sink keeps the promise of `driftserve.metrics.definitions.Sink`."""
