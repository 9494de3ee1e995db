"""Finds free TCP ports of this machine, and checks whether a port is free."""

import contextlib
import socket

from driftserve.errors import ServerError


def free_ports(number: int) -> list[int]:
    """Return `number` different ports of the loopback interface that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(bound.getsockname()[1]) for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports


def free_ports_within(first: int, last: int, number: int, but: int) -> list[int]:
    """Return `number` ports from `first` to `last`, without the port `but`, that were free a moment ago.

    Raises:
        ServerError: there are fewer.
    """
    found: list[int] = []
    for port in range(first, last + 1):
        if len(found) == number:
            break
        with contextlib.suppress(ServerError):
            check_port_is_free("127.0.0.1", port)
            found += [port] if port != but else []
    if len(found) < number:
        raise ServerError(
            f"expected {number} free ports from {first} to {last}, without {but}, got {len(found)}; "
            "set DRIFTSERVE_SAFE_PORT_RANGE to another range"
        )
    return found


def check_port_is_free(host: str, port: int) -> None:
    """Check that a server could listen on this port of this address now.

    Raises:
        ServerError: Another process listens on the port, or the address is not this machine's.
    """
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ServerError(f"port {port} of {host} cannot be used: {error.strerror}; choose another one") from error
