"""The programs of processing steps. They do not import the SDK, and call the training package by its commands."""
