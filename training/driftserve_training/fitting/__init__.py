"""Fitting: the training step, the training loop, checkpoints and TensorBoard output."""
