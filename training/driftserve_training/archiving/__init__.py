"""From a trained network, with its evidence, to the archive that is served."""
