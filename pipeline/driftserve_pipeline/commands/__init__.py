"""The commands of `driftserve-pipeline`, one a module."""
