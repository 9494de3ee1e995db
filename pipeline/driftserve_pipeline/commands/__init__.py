"""The commands of `driftserve-pipeline`."""
