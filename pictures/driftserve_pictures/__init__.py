"""The pictures of README.md and of the documentation, made by `make pictures`."""
