"""The model registry: versions of the model, the champion among them."""
