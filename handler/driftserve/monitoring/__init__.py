"""The monitor: observations in, reports and metrics out."""
