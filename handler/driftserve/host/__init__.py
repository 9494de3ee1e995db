"""The machine: its processes, signals, ports and limits."""
