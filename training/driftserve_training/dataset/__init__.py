"""The images: where they come from, what is known of each, how they reach the network."""
