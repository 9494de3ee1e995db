"""The pipeline as processes: the rendered definition, interpreted."""
