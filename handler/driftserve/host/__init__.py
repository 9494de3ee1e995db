"""The machine's processes, signals, ports, locks and limits."""
