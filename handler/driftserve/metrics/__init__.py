"""Verdicts and counts to metrics, and their delivery to CloudWatch, EMF or the log."""
