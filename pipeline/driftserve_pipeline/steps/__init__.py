"""The programs of processing steps. They do not import the SDK, and run commands of the training package."""
