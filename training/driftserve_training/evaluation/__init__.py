"""What a trained network is worth, with how much that can be trusted."""
