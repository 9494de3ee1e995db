"""The corruptions of ImageNet-C, and what they are made of."""
