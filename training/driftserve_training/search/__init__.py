"""Search for the training parameters with the best accuracy."""
