"""The benchmark of the drift detector: false alarms, power, and harm told from harmlessness, on real images."""
