"""Uses the machine's processes, signals, ports, locks and limits."""
