"""The image corruptions of ImageNet-C."""
