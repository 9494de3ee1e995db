"""Decodes and preprocesses images, by the same code for training and serving."""
