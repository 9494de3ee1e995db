"""What training promises to serving: a MAR file, and the contract in it."""
