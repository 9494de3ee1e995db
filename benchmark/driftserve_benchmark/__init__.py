"""The benchmark of the drift detector on real images: false alarms, power, and estimated loss of accuracy."""
