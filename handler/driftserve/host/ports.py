"""TCP ports of this machine: which are free, which are taken."""

import socket

from driftserve.errors import ServerError


def free_ports(number: int) -> list[int]:
    """Ports of the loopback interface that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(bound.getsockname()[1]) for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports


def check_port_is_free(host: str, port: int) -> None:
    """Pass if a server could listen there now.

    Raises:
        ServerError: another process listens on the port, or the address is not this machine's.
    """
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ServerError(f"port {port} of {host} cannot be used: {error.strerror}; choose another one") from error
