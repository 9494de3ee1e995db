"""The model card: the measurements, the data and the limits of a trained network, on one page."""
