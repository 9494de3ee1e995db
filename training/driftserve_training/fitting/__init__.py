"""Fitting: the training step, the loop, what it leaves to look at."""
