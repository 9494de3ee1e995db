"""The model card: everything that is known about a trained network, on one page."""
