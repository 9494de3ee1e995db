"""Measures how good an archive's drift detector is."""
