"""Commands of `python -m driftserve_training`: one module for each, with its flags and the function it calls."""
