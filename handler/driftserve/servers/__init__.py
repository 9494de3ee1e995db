"""How a model server's JVM is configured and started."""
