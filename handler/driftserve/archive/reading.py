"""Reads, checks and unpacks an archive: the graph, golden images, contract, manifest and one-line handler file."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from driftserve.archive.contract import MODEL_FILE as MODEL_FILE
from driftserve.archive.contract import Contract, contract_from_json, file_sha256
from driftserve.archive.mar import Mar, open_mar
from driftserve.archive.record import Record
from driftserve.archive.unpacked import Unpacked, open_unpacked
from driftserve.errors import ArchiveError
from driftserve.text import is_utf8
from driftserve.validation import first_problem

CONTRACT_FILE = "contract.json"
HANDLER_FILE = "driftserve_handler.py"
# The handler file's text. The loaders of both servers accept a module-level function `handle`, even an imported one.
HANDLER_SOURCE = "from driftserve.adapters.model_server import handle\n"
# The archiver writes the time into the manifest, so the manifest is not part of the content digest.
MANIFEST_FILE = "MAR-INF/MANIFEST.json"
MAX_MANIFEST_BYTES = 64 * 1024
MAX_CONTRACT_BYTES = 64 * 1024 * 1024

_MAX_GOLDEN_BYTES = 4 * 1024 * 1024

_TakeFile = Callable[[str, Iterable[bytes]], object]


def find_archive(place: Path) -> Path:
    """Return the archive at a path: the file itself, the only `.mar` in a directory, or an unpacked MAR's directory.

    Raises:
        ArchiveError: there is no archive, or there are several.
    """
    if place.is_file():
        return place
    found = archives_in(place)
    if not found and (place / MANIFEST_FILE).is_file():
        return place
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ArchiveError(f"{place}: expected a .mar file, or a directory with one .mar file, got {names}")
    if not is_utf8(found[0].name):
        raise ArchiveError(f"{place}: expected a name in UTF-8, got {found[0].name}; rename it")
    return found[0]


def archives_in(directory: Path) -> list[Path]:
    """Return the `.mar` files of a directory, sorted, without names that begin with a dot (macOS writes `._a.mar`)."""
    return sorted(path for path in directory.glob("*.mar") if not path.name.startswith("."))


def check_files_beside(archive: Path) -> None:
    """Check the directory of a `.mar`: only copies of the archive's own manifest and handler file may be beside it.

    A multi-model server reads these two files, and acts on them, before it starts the worker that verifies the archive.

    Raises:
        ArchiveError: there is another file, or a copy differs from the file in the `.mar`.
    """
    advice = "load the unpacked model.tar.gz of the export, or the .mar by its file:// URL"
    with open_unpacked(archive.parent) as beside, open_mar(archive) as mar:
        expected = {archive.name, MANIFEST_FILE, HANDLER_FILE}
        if set(beside.sizes) != expected:
            raise ArchiveError(
                f"expected {', '.join(sorted(expected))}, got {', '.join(sorted(beside.sizes))}; {advice}"
            )
        for name in (MANIFEST_FILE, HANDLER_FILE):
            if beside.read(name, MAX_MANIFEST_BYTES) != mar.read(name, MAX_MANIFEST_BYTES):
                raise ArchiveError(f"{name}: expected a copy of the file in {archive.name}, got other bytes; {advice}")


def read_archive(archive: Path) -> tuple[Contract, str]:
    """Check a whole archive, and return its contract and content digest; nothing is written or run.

    Raises:
        ArchiveError: the file is not a driftserve archive, or its content does not match the contract; the message is
            one line.
    """
    return _read_checked(archive, lambda _, blocks: deque(blocks, maxlen=0))


def read_contract(archive: Path) -> Contract:
    """Check a whole archive, and return its contract."""
    return read_archive(archive)[0]


def unpack_archive(archive: Path, destination: Path) -> Contract:
    """Check an archive, unpack exactly the checked bytes into `destination`, and return the contract.

    Nothing is written before the structure, the contract, the manifest and the handler file are checked; the other
    files are checked while they are written, in small blocks.

    Args:
        archive: an untrusted file or directory.
        destination: an empty or new directory; its content is not usable after an error.

    Raises:
        ArchiveError: as in `read_archive`; or the destination is not empty, or cannot be written to.
    """

    def write(name: str, blocks: Iterable[bytes]) -> None:
        path = destination / name
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as file:
            file.writelines(blocks)

    try:
        destination.mkdir(parents=True, exist_ok=True)
        if any(destination.iterdir()):
            raise ArchiveError(f"{destination}: expected an empty directory, but it has files in it; give another")
    except OSError as error:
        raise ArchiveError(f"{destination}: cannot unpack into this directory: {error}") from error
    contract, _ = _read_checked(archive, write)
    return contract


def directory_digest(directory: Path, contract: Contract) -> str:
    """Return the content digest of an unpacked archive, which is equal to the digest of its `.mar` file."""
    # TorchServe and Python write their own files into the directory, so use only the archive's files.
    ours = (CONTRACT_FILE, HANDLER_FILE, *contract.files)
    return _content_digest({name: file_sha256(directory / name) for name in ours})


def _content_digest(sha256: Mapping[str, str]) -> str:
    """Return the SHA-256 of the lines `name sha256`, sorted by name, one for each file but the archiver's manifest."""
    lines = sorted(f"{name} {digest}\n" for name, digest in sha256.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read_checked(archive: Path, take_file: _TakeFile) -> tuple[Contract, str]:
    """Check an archive; return its contract and content digest. Pass each file's name and blocks to `take_file`.

    The contract, manifest and handler file are passed after all three were checked. The digests of the other files are
    compared with the contract while `take_file` reads their blocks, so that it takes exactly the checked bytes.
    """
    with open_unpacked(archive) if archive.is_dir() else open_mar(archive) as mar:
        contract_bytes = mar.read(CONTRACT_FILE, MAX_CONTRACT_BYTES)
        contract = contract_from_json(contract_bytes)
        _check_entries(mar, contract)
        manifest_bytes = mar.read(MANIFEST_FILE, MAX_MANIFEST_BYTES)
        _check_manifest(manifest_bytes, contract)
        handler_bytes = mar.read(HANDLER_FILE, MAX_MANIFEST_BYTES)
        if handler_bytes != HANDLER_SOURCE.encode():
            raise ArchiveError(f"{HANDLER_FILE}: expected exactly {HANDLER_SOURCE!r}, got {handler_bytes[:80]!r}")
        small = {CONTRACT_FILE: contract_bytes, HANDLER_FILE: handler_bytes}
        for name, content in {**small, MANIFEST_FILE: manifest_bytes}.items():
            take_file(name, [content])
        for name in contract.file_names:
            take_file(name, _digested(mar, name, contract.files[name]))
        return contract, _content_digest(
            {name: hashlib.sha256(content).hexdigest() for name, content in small.items()} | contract.files
        )


def _check_entries(mar: Mar | Unpacked, contract: Contract) -> None:
    if not contract.files:
        raise ArchiveError(
            f"{CONTRACT_FILE}: files: expected digests of {', '.join(contract.file_names)}, got no digest"
        )
    expected = {CONTRACT_FILE, HANDLER_FILE, MANIFEST_FILE, *contract.file_names}
    if (got := set(mar.sizes) - {"MAR-INF/"}) != expected:
        missing, surplus = sorted(expected - got), sorted(got - expected)
        raise ArchiveError(f"the files differ from those in the contract: missing {missing}, unexpected {surplus}")
    for image in contract.golden:
        if (size := mar.sizes[image.file]) > _MAX_GOLDEN_BYTES:
            raise ArchiveError(f"{image.file}: expected at most {_MAX_GOLDEN_BYTES} bytes, got {size}")


def _digested(mar: Mar | Unpacked, name: str, expected: str) -> Iterator[bytes]:
    """Yield the blocks of an entry; after the last block, compare the entry's SHA-256 with `expected`."""
    digest = hashlib.sha256()
    for block in mar.blocks(name):
        digest.update(block)
        yield block
    if (got := digest.hexdigest()) != expected:
        raise ArchiveError(f"{name}: expected sha256 {expected}, got {got}")


class _ManifestModel(Record):
    model_name: str = Field(alias="modelName")
    serialized_file: str = Field(alias="serializedFile")
    handler: str
    model_version: str = Field(alias="modelVersion")


class _Manifest(Record):
    """The fields that torch-model-archiver 0.12 writes.

    Other fields are rejected, because they could make the server install or run something.
    """

    created_on: str = Field(alias="createdOn")
    runtime: Literal["python"]
    model: _ManifestModel
    archiver_version: str = Field(alias="archiverVersion")


def _check_manifest(text: bytes, contract: Contract) -> None:
    try:
        got = _Manifest.model_validate_json(text).model
    except ValidationError as error:
        problem = first_problem(error)
        place = problem.place or "manifest"
        raise ArchiveError(f"{MANIFEST_FILE}: {place}: {problem.reason}; export the archive again") from error
    expected = _ManifestModel(
        modelName=contract.name, serializedFile=MODEL_FILE, handler=HANDLER_FILE, modelVersion=contract.version
    )
    if got != expected:
        raise ArchiveError(f"{MANIFEST_FILE}: expected {expected}, got {got}")
