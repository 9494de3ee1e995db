"""How good an archive's drift detector is, as measured."""
