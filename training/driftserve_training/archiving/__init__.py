"""Making the archive to serve from a trained network and its evidence."""
