"""Training job for SageMaker: one container that trains a model and leaves its archive."""
