"""Pixels to an answer: the network, its prediction, and the service around it."""
