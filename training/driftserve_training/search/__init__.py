"""The search for the parameters that train best."""
