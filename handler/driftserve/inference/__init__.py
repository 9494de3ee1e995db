"""Runs the network on images and answers requests with its predictions."""
