"""Metrics, and their delivery to CloudWatch, EMF or the log."""
