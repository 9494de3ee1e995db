"""The model card: everything that is known of a trained network, on one page."""
