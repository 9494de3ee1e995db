"""Observations of answered images, and how they travel: by datagram to the monitor, to a record or to a log."""
