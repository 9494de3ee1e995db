"""The thin doors between a model server's calls and `driftserve.inference.service`."""
