"""Configures, starts, probes and stops the model servers, TorchServe and Multi Model Server."""
