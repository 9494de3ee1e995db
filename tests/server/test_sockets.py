"""Tests of what a running server exposes to other users of its machine: its sockets, and its workers' environment."""

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from model_servers import Endpoint

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def _listening(endpoint: Endpoint) -> tuple[set[tuple[str, int]], set[Path]]:
    """Return the TCP addresses and the paths on which the processes of a server listen, or take datagrams."""
    addresses: set[tuple[str, int]] = set()
    paths: set[Path] = set()
    for process in (psutil.Process(endpoint.process.pid), *endpoint.descendants()):
        with contextlib.suppress(psutil.NoSuchProcess):
            for found in process.net_connections("all"):
                if found.family == socket.AF_UNIX:
                    paths |= {Path(found.laddr)} if found.laddr else set()
                elif found.status == psutil.CONN_LISTEN or found.type == socket.SOCK_DGRAM:
                    addresses.add((found.laddr.ip.removeprefix("::ffff:"), found.laddr.port))
    return addresses, paths


def _addresses_of_this_machine() -> Iterator[str]:
    yield from ("127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - a connection to it reaches this machine
    for interface in psutil.net_if_addrs().values():
        for address in interface:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                yield address.address


def _is_reachable(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_other_users_reach_only_the_inference_port(endpoint: Endpoint) -> None:
    addresses, paths = _listening(endpoint)
    ours = ("127.0.0.1", urlsplit(endpoint.url).port)
    assert ours in addresses
    everywhere = set(_addresses_of_this_machine())
    reachable = {
        (address, port)
        for bound, port in addresses - {ours}
        for address in {bound, *everywhere}
        if _is_reachable(address, port)
    }
    assert reachable == set()
    # A socket with a name: its own mode, or that of a directory of ours above it, keeps all other users out.
    assert {path.name for path in paths} >= {"observations.sock", "management.sock"}
    assert stat.S_IMODE(endpoint.runtime_dir.stat().st_mode) == 0o755
    for path in paths:
        assert path.is_relative_to(endpoint.runtime_dir)
        steps = [step for step in (path, *path.parents) if step.is_relative_to(endpoint.runtime_dir)]
        assert any(not stat.S_IMODE(step.stat().st_mode) & OTHERS for step in steps), path


def _environment_of(process: psutil.Process) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    return dict(line.decode().split("=", 1) for line in lines if b"=" in line)


def test_only_the_monitor_has_the_credentials_of_aws(endpoint: Endpoint) -> None:
    assert _environment_of(endpoint.monitor())["AWS_ACCESS_KEY_ID"] == "test"
    others = [endpoint.jvm(), *endpoint.workers()]
    assert len(others) == 3
    for process in others:
        assert not [name for name in _environment_of(process) if name.startswith("AWS_")], process.cmdline()
