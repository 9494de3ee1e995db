"""Passes the calls of TorchServe, MMS and AWS Lambda to `driftserve.inference.service`."""
