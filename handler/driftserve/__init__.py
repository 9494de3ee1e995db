"""A TorchScript image classifier on SageMaker that watches its own traffic."""

__version__ = "0.1.0"
