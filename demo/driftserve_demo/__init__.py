"""The demo, end to end on one machine: train, archive, serve, find drift, read the metrics back."""
