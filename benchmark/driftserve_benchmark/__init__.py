"""The benchmark of the drift detector on real images: false alarms, power, and the estimated loss of accuracy."""
