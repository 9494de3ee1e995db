"""What a request tells the monitor, and the ways that it takes: datagram, record, log."""
