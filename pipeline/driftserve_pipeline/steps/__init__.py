"""What runs in the containers of processing steps; no SDK, and training only by its commands."""
