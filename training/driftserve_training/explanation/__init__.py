"""Explanations of a network's predictions, and tests of whether the explanations can be trusted."""
