"""Defines the metrics, and delivers them to CloudWatch, EMF or the log."""
