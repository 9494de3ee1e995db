"""A real PostgreSQL server for tests, from Debian's package, in a temporary folder."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from driftserve.host.ports import free_ports
from processes import wait_for


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server; yield the URL of an empty database; stop the server at the end of the block."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed at /usr/lib/postgresql/*/bin (Debian package `postgresql`)")
    binaries, user = programs[-1], _user()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # other users cannot enter pytest's folders
    try:
        os.chown(folder, user, -1)
        (port,) = free_ports(1)
        place = str(folder / "data")
        initialise = [str(binaries / "initdb"), "-D", place, "-U", "tests", "-A", "trust", "-N", "--no-instructions"]
        subprocess.run(initialise, user=user, check=True, capture_output=True, cwd=folder)
        server = subprocess.Popen(
            [str(binaries / "postgres"), "-D", place, "-F", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            wait_for(lambda: subprocess.run(ready, check=False).returncode == 0)
            yield f"postgresql+psycopg://tests@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def _user() -> int:
    """Return the user id for the server, which refuses to run as root."""
    if os.geteuid() != 0:
        return os.geteuid()
    try:
        return pwd.getpwnam("postgres").pw_uid
    except KeyError:
        return pwd.getpwnam("nobody").pw_uid
