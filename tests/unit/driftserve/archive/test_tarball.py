"""Unpack a `model.tar.gz` that may be damaged or hostile. The limits of the tests are small; nothing here is large."""

import contextlib
import gzip
import io
import random
import tarfile
from pathlib import Path

import pytest

from driftserve.archive.tarball import unpack_tarball
from driftserve.errors import ArchiveError
from processes import small_files


def _tarball(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tarball:
        for member, content in members:
            member.size = len(content)
            tarball.addfile(member, io.BytesIO(content))
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b"content" if kind == tarfile.REGTYPE else b""


def test_a_tarball_is_unpacked_unchanged(tmp_path: Path) -> None:
    packed = _tarball(tmp_path / "a.tar.gz", _member("./", tarfile.DIRTYPE), _member("./run/a/b"), _member("run/c"))
    folder = unpack_tarball(packed, tmp_path / "out")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "run",
        "run/a",
        "run/a/b",
        "run/c",
    ]
    assert (folder / "run/a/b").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([_member("../out.txt")], "expected plain files inside it, got '../out.txt'"),
        ([_member("/tmp/out.txt")], "expected plain files inside it, got '/tmp/out.txt'"),  # noqa: S108
        ([_member("a/../../out.txt")], "expected plain files inside it, got 'a/../../out.txt'"),
        ([_member("a", tarfile.SYMTYPE, ".."), _member("a/out.txt")], "expected plain files inside it, got 'a'"),
        ([_member("a", tarfile.LNKTYPE, "/etc/passwd")], "expected plain files inside it, got 'a'"),
        ([_member("a", tarfile.FIFOTYPE)], "expected plain files inside it, got 'a'"),
        ([_member("a"), _member("a")], "cannot be read as a model.tar.gz: .*File exists"),
        ([_member(str(number)) for number in range(4)], "expected at most 3 files, got more"),
    ],
)
def test_a_hostile_tarball_is_refused(members: list[tuple[tarfile.TarInfo, bytes]], said: str, tmp_path: Path) -> None:
    packed = _tarball(tmp_path / "model.tar.gz", *members)
    with pytest.raises(ArchiveError, match=rf"model\.tar\.gz: {said}"):
        unpack_tarball(packed, tmp_path / "deep" / "out", most_files=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "model.tar.gz"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def _large_comment() -> tuple[tarfile.TarInfo, bytes]:
    member, content = _member("a")
    member.pax_headers = {"comment": "x" * 2**20}
    return member, content


def _large_file() -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo("a"), bytes(2**18)


@pytest.mark.parametrize(
    ("member", "after_end", "said"),
    [
        (_large_file(), b"", "expected at most 131072 bytes unpacked, got more"),
        (_large_comment(), b"", "expected headers of at most 1048576 bytes, got "),
        (_member("a"), bytes(2**18), "expected at most 131072 bytes unpacked, got more"),
    ],
    ids=["a file", "a header, which tarfile would read into memory", "bytes after the end"],
)
def test_more_bytes_than_the_limit_are_refused_wherever_they_are(
    member: tuple[tarfile.TarInfo, bytes], after_end: bytes, said: str, tmp_path: Path
) -> None:
    packed = _tarball(tmp_path / "model.tar.gz", member)
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()) + after_end))
    assert packed.stat().st_size < 2**14
    with pytest.raises(ArchiveError, match=rf"model\.tar\.gz: {said}"):
        unpack_tarball(packed, tmp_path / "out", most_bytes=2**17)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 2**17


@pytest.mark.parametrize("body", [b"no tarball", None])
def test_an_invalid_tarball_is_refused(body: bytes | None, tmp_path: Path) -> None:
    packed = tmp_path / "model.tar.gz"
    if body is not None:
        packed.write_bytes(body)
    with pytest.raises(ArchiveError, match=r"model\.tar\.gz: cannot be read as a model\.tar\.gz: "):
        unpack_tarball(packed, tmp_path / "out")


def test_a_tarball_damaged_at_any_byte_is_refused(tmp_path: Path) -> None:
    content = random.Random(0).randbytes(300)
    member, _ = _member("run/a")
    packed = _tarball(tmp_path / "model.tar.gz", (member, content))
    whole, wrong = packed.read_bytes(), []
    for place in range(whole.index(b"\0", 10) + 1, len(whole)):  # after gzip's header, which may contain anything
        packed.write_bytes(bytes((*whole[:place], whole[place] ^ 0x10, *whole[place + 1 :])))
        with contextlib.suppress(ArchiveError):  # some bits of a deflate stream have no effect
            if (unpack_tarball(packed, tmp_path / str(place)) / "run/a").read_bytes() != content:
                wrong.append(place)
    assert wrong == []


def test_a_full_disk_is_not_reported_as_a_damaged_tarball(tmp_path: Path) -> None:
    member, _ = _member("run/a")
    packed = _tarball(tmp_path / "model.tar.gz", (member, b"0" * 200_000))
    with small_files(100_000), pytest.raises(OSError, match=r"^\[Errno 27\] File too large$"):
        unpack_tarball(packed, tmp_path / "out")
