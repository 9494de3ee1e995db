"""Reads and writes archives: MAR files with a model and its contract, which training makes and serving loads."""
