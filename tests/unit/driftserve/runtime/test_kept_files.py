import shutil
import socket

import pytest

from driftserve.runtime.kept_files import KeptFiles


def test_what_is_removed_comes_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("k")  # a short path, for the socket
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "b" / "file").write_bytes(b"content")
    (place / "a" / "link").symlink_to(place / "a" / "b")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(place / "a" / "socket"))
        server.listen()
        kept = KeptFiles(place / "a")
        assert kept.restore() == []
        shutil.rmtree(place / "a")
        assert {path.name for path in kept.restore()} == {"file", "link", "socket"}
        assert (place / "a" / "link" / "file").read_bytes() == b"content"
        client.connect(str(place / "a" / "socket"))
        assert kept.restore() == []
        kept.close()
