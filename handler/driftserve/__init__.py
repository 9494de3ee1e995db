"""Serves TorchScript image classifiers on SageMaker and detects drift in their traffic."""

__version__ = "0.1.0"
