"""Invalid archives, as an attacker or a broken disk could make them: each is a valid archive with one fault."""

import json
import random
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

CONTRACT, HANDLER, MANIFEST, MODEL, GOLDEN = (
    "contract.json",
    "driftserve_handler.py",
    "MAR-INF/MANIFEST.json",
    "model.pt",
    "golden-00.png",
)


@dataclass(frozen=True)
class Entry:
    """One entry of a zip file, with every field of its headers; the fields may be wrong."""

    name: str
    stored: bytes  # the bytes in the file
    size: int
    checksum: int
    method: int = zipfile.ZIP_DEFLATED
    flags: int = 0
    mode: int = stat.S_IFREG | 0o644
    extra: bytes = b""
    comment: bytes = b""
    local_name: str = ""  # if the local header has a different name
    stored_size: int = -1  # if the headers have a different size
    offset: int = -1  # if the directory has a different offset


def deflated(name: str, content: bytes) -> Entry:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return Entry(name, deflater.compress(content) + deflater.flush(), len(content), zlib.crc32(content))


def entries_of(archive: Path) -> list[Entry]:
    with zipfile.ZipFile(archive) as mar:
        return [deflated(name, mar.read(name)) for name in mar.namelist()]


def content_of(entries: Sequence[Entry], name: str) -> bytes:
    return zlib.decompress(next(entry.stored for entry in entries if entry.name == name), -zlib.MAX_WBITS)


def to_zip(
    entries: Sequence[Entry], before: bytes = b"", between: bytes = b"", after: bytes = b"", comment: bytes = b""
) -> bytes:
    body, directory = before, b""
    for entry in entries:
        name, local_name = entry.name.encode(), (entry.local_name or entry.name).encode()
        method = (20, entry.flags, entry.method, 0, 0x21)
        stored_size = len(entry.stored) if entry.stored_size < 0 else entry.stored_size
        offset = len(body) if entry.offset < 0 else entry.offset
        sizes = (entry.checksum, stored_size, entry.size)
        directory += struct.pack("<4s2B5H3L", b"PK\1\2", 20, 3, *method, *sizes)
        directory += struct.pack(
            "<5H2L", len(name), len(entry.extra), len(entry.comment), 0, 0, entry.mode << 16, offset
        )
        directory += name + entry.extra + entry.comment
        body += struct.pack("<4s5H3L2H", b"PK\3\4", *method, *sizes, len(local_name), len(entry.extra))
        body += local_name + entry.extra + entry.stored + between
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(body), len(comment))
    return body + directory + end + comment + after


def swapped(entries: Sequence[Entry], name: str, change: Callable[[Entry], Entry]) -> list[Entry]:
    return [change(entry) if entry.name == name else entry for entry in entries]


Make = Callable[[list[Entry]], bytes]


def _add(name: str, **fields: object) -> Make:
    return lambda entries: to_zip([*entries, replace(deflated(name, b"evil"), **fields)])


def _alter(name: str, **fields: object) -> Make:
    return lambda entries: to_zip(swapped(entries, name, lambda entry: replace(entry, **fields)))


def _drop(name: str) -> Make:
    return lambda entries: to_zip([entry for entry in entries if entry.name != name])


def _rewrite(name: str, change: Callable[[bytes], bytes]) -> Make:
    return lambda entries: to_zip(swapped(entries, name, lambda _: deflated(name, change(content_of(entries, name)))))


def _edit(name: str, **fields: object) -> Make:
    return _rewrite(name, lambda text: json.dumps(json.loads(text) | fields).encode())


def _edit_model(**fields: object) -> Make:
    def change(text: bytes) -> bytes:
        document = json.loads(text)
        return json.dumps(document | {"model": document["model"] | fields}).encode()

    return _rewrite(MANIFEST, change)


def _seal_also(name: str) -> Make:
    """Add a file and name it in the contract."""

    def make(entries: list[Entry]) -> bytes:
        document = json.loads(content_of(entries, CONTRACT))
        document["files"][name] = "0" * 64
        contract = deflated(CONTRACT, json.dumps(document).encode())
        return to_zip([*swapped(entries, CONTRACT, lambda _: contract), deflated(name, b"evil")])

    return make


def _bomb_with_lying_header(entries: list[Entry]) -> bytes:
    return to_zip(swapped(entries, MODEL, lambda good: replace(good, stored=deflated(MODEL, bytes(1 << 26)).stored)))


def _hidden_entry(entries: list[Entry]) -> bytes:
    """Add a local entry that the directory does not list: Java's reader finds it, Python's does not."""
    hidden = to_zip([deflated("torch.py", b"evil")])
    return to_zip(entries, between=hidden[: hidden.index(b"PK\1\2")])


_PLAIN = "a plain relative path"
# Maps each fault to a function that makes it and to the expected error message.
HOSTILE: dict[str, tuple[Make, str]] = {
    "no zip": (lambda _: b"hello", "not a MAR archive"),
    "empty": (lambda _: b"", "its 0 bytes do not end"),
    "broken off": (lambda entries: to_zip(entries)[:-100], "not a MAR archive"),
    "absolute path": (_add("/etc/passwd"), _PLAIN),
    "path upwards": (_add("../evil"), _PLAIN),
    "path upwards from within": (_add("MAR-INF/../../evil"), _PLAIN),
    "sibling of the same prefix": (_add("../model-evil/x"), _PLAIN),
    "backslashes": (_add("..\\evil"), _PLAIN),
    "drive letter": (_add("C:evil"), _PLAIN),
    "NUL in a name": (_add("evil\0.pt"), _PLAIN),
    "line break in a name": (_add("a\nb"), _PLAIN),
    "terminal escape in a name": (_add("\x1b[2Jevil"), _PLAIN),
    "no name": (_add(""), _PLAIN),
    "name of a letter like another": (_add("modеl.pt"), _PLAIN),  # noqa: RUF001
    "symbolic link": (_alter(HANDLER, mode=stat.S_IFLNK | 0o777), "expected a regular file"),
    "device": (_alter(MODEL, mode=stat.S_IFCHR | 0o666), "expected a regular file"),
    "pipe": (_alter(GOLDEN, mode=stat.S_IFIFO | 0o666), "expected a regular file"),
    "directory of a file's name": (
        _add("model.pt/", stored=b"", size=0, checksum=0, mode=0),
        "expected names that differ",
    ),
    "directory with content": (_add("MAR-INF/", mode=0), "expected an empty directory entry"),
    "one name twice": (_add(CONTRACT), "expected names that differ"),
    "one name twice but for case": (_add("Contract.JSON"), "expected names that differ"),
    "encrypted": (_alter(MODEL, flags=0x1), "expected no encryption"),
    "sizes after the content": (_alter(MODEL, flags=0x8), "and no other flag"),
    "unknown method": (_alter(MODEL, method=zipfile.ZIP_LZMA), "expected compression method 0 or 8, got 14"),
    "extra field": (_alter(MODEL, extra=b"\x01\x00\x00\x00"), "expected no extra field"),
    "entry comment": (_alter(MODEL, comment=b"evil"), "no comment"),
    "too many entries": (
        lambda entries: to_zip([*entries, *(deflated(f"extra{number}", b"") for number in range(64))]),
        "expected at most 64 entries",
    ),
    "too many bytes of names": (
        lambda entries: to_zip([*entries, *(deflated(f"{number}{'x' * 20_000}", b"") for number in range(4))]),
        "listed in at most 65536 bytes",
    ),
    "huge entry": (_alter(MODEL, size=2_000_000_001), "expected at most 2000000000 bytes, got 2000000001"),
    "huge in all": (
        lambda entries: to_zip([*entries, *(_huge(name) for name in ("a", "b"))]),
        "bytes unpacked, got 24",
    ),
    "bomb": (lambda entries: to_zip([*entries, deflated("zeros", bytes(1 << 23))]), "expected at most 200 times"),
    "bomb with a lying header": (_bomb_with_lying_header, "as its header says, got more"),
    "less than its header says": (_rewrite(MODEL, lambda _: b""), "expected sha256"),
    "shorter than its header says": (_alter(MODEL, size=10_000), "expected 10000 bytes with CRC"),
    "wrong checksum": (_alter(MODEL, checksum=1), "with CRC 00000001"),
    "stream that breaks off": (
        lambda entries: to_zip(swapped(entries, MODEL, lambda good: replace(good, stored=good.stored[:-2]))),
        "got a truncated one",
    ),
    "bytes after a stream": (
        lambda entries: to_zip(swapped(entries, MODEL, lambda good: replace(good, stored=good.stored + b"evil"))),
        "no bytes after the compressed stream",
    ),
    "no deflate stream": (_alter(GOLDEN, stored=b"\xff" * 50), "Error -3"),
    "local header of another name": (
        _alter(HANDLER, local_name="driftserve_handles.py"),
        "equal to the central directory's",
    ),
    "local header of another length": (_alter(HANDLER, local_name="evil.py"), "equal to the central directory's"),
    "entry that ends elsewhere": (_alter(GOLDEN, stored_size=3), "equal to the central directory's"),
    "hidden entry": (_hidden_entry, "equal to the central directory's"),
    "entry that lies elsewhere": (_alter(GOLDEN, offset=0), "equal to the central directory's"),
    "end that counts fewer entries": (lambda entries: _with_end(entries, 8, b"\1\0\1\0"), "expected 1 entries in"),
    "end that speaks of other disks": (lambda entries: _with_end(entries, 4, b"\1\0"), "in one part"),
    "end that speaks of a comment": (lambda entries: _with_end(entries, 20, b"\1\0"), "without a comment"),
    "zip64 end": (lambda entries: _with_zip64_end(entries), "as the end of the zip file says"),
    "program in front": (lambda entries: to_zip(entries, before=b"#!/bin/sh\n"), "at byte 0"),
    "data behind": (lambda entries: to_zip(entries, after=b"evil" * 10), "do not end with a zip.s end record"),
    "second end behind": (lambda entries: to_zip(entries) + to_zip([]), "as the end of the zip file says"),
    "second zip behind": (lambda entries: to_zip(entries) + to_zip(entries), "as the end of the zip file says"),
    "zip comment": (lambda entries: to_zip(entries, comment=b"evil" * 4), "do not end with a zip.s end record"),
    "data before the directory": (
        lambda entries: _gap_before_directory(entries),
        "after the last entry",
    ),
    "module that shadows torch": (_add("torch.py"), r"unexpected \['torch.py'\]"),
    "requirements": (_add("requirements.txt"), r"unexpected \['requirements.txt'\]"),
    "second manifest": (_add("MAR-INF/evil.json"), "unexpected"),
    "sealed stranger": (_seal_also("torch.py"), "expected the files model.pt, golden-00.png"),
    "no contract": (_drop(CONTRACT), f"{CONTRACT}: the archive does not have this file"),
    "no graph": (_drop(MODEL), r"missing \['model.pt'\]"),
    "no golden image": (_drop(GOLDEN), r"missing \['golden-00.png'\]"),
    "no manifest": (_drop(MANIFEST), "missing"),
    "no handler": (_drop(HANDLER), "missing"),
    "other handler": (_rewrite(HANDLER, lambda _: b"import os\n"), "expected exactly"),
    "handler with a line more": (_rewrite(HANDLER, lambda text: text + b"import os\n"), "expected exactly"),
    "huge handler": (_rewrite(HANDLER, lambda text: text + b"#" * 100_000), "expected at most 65536 bytes"),
    "no JSON for a manifest": (_rewrite(MANIFEST, lambda _: b"{"), "MANIFEST.json: manifest: Invalid JSON"),
    "huge manifest": (_rewrite(MANIFEST, lambda text: text + b" " * 100_000), "expected at most 65536 bytes"),
    "manifest that installs": (_edit_model(requirementsFile="requirements.txt"), "model.requirementsFile"),
    "manifest with an envelope": (_edit_model(envelope="json"), "model.envelope"),
    "manifest with code": (_edit_model(modelFile="model.py"), "model.modelFile"),
    "manifest with a configuration": (_edit_model(configFile="config.yaml"), "model.configFile"),
    "manifest of another handler": (_edit_model(handler="os:system"), "os:system"),
    "manifest of another graph": (_edit_model(serializedFile="golden-00.png"), "expected .*model.pt.*got"),
    "manifest of another name": (_edit_model(modelName="other"), "expected .*tiny.*got .*other"),
    "manifest of another version": (_edit_model(modelVersion="8"), "expected .*'7'.*got .*'8'"),
    "manifest of a native runtime": (_edit(MANIFEST, runtime="LSP"), "MANIFEST.json: runtime"),
    "manifest with a number for a name": (_edit_model(modelName=1), "model.modelName"),
    "no JSON for a contract": (_rewrite(CONTRACT, lambda _: b"{"), "not valid JSON"),
    "no UTF-8 in the contract": (_rewrite(CONTRACT, lambda _: b'{"name": "\xff"}'), "not valid JSON"),
    "deeply nested contract": (_rewrite(CONTRACT, lambda _: b"[" * 100_000), "not valid JSON"),
    "contract of another schema": (_edit(CONTRACT, schema_version=1), "expected schema_version 3, got 1"),
    "line break in a contract's key": (_edit(CONTRACT, **{"a\nb\x1b": 1}), "Extra inputs"),
    "half a surrogate pair in a contract's key": (_edit(CONTRACT, evaluation={"\ud800": 1.0}), "not valid JSON"),
    "contract without digests": (_edit(CONTRACT, files={}), "expected digests of model.pt"),
    "other graph": (_rewrite(MODEL, lambda _: b"another"), r"model\.pt: expected sha256"),
    "other golden image": (_rewrite(GOLDEN, lambda text: text + b"!"), r"golden-00\.png: expected sha256"),
    "huge golden image": (_rewrite(GOLDEN, lambda _: random.Random(0).randbytes(2**22 + 1)), "at most 4194304 bytes"),
}


def _huge(name: str) -> Entry:
    return replace(deflated(name, b""), size=1_200_000_000, stored_size=6_000_000)


def _gap_before_directory(entries: Sequence[Entry]) -> bytes:
    """Add an entry after the last one that the directory does not list."""
    whole = to_zip([*entries, deflated("torch.py", b"evil")])
    body = whole[: whole.index(b"PK\1\2")]
    plain = to_zip(entries)
    directory = plain[plain.index(b"PK\1\2") : -22]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return body + directory + end


def _with_end(entries: Sequence[Entry], place: int, value: bytes) -> bytes:
    """Replace bytes at an offset of the end record, which is 22 bytes long."""
    whole = to_zip(entries)
    start = len(whole) - 22 + place
    return whole[:start] + value + whole[start + len(value) :]


def _with_zip64_end(entries: Sequence[Entry]) -> bytes:
    """Add a zip64 end record before the plain one. Python's reader prefers it."""
    whole = to_zip(entries)
    *_, count, size, offset, _ = struct.unpack("<4s4H2LH", whole[-22:])
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1)
    return whole[:-22] + end + locator + whole[-22:]
