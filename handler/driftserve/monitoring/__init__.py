"""The monitor: turns observations into drift reports and metrics."""
