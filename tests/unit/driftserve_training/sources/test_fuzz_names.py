"""Fuzz tests: any file and folder names are carried through whole or refused in one line. `make fuzz` runs more."""

import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftserve.errors import DataError
from driftserve.text import printable
from driftserve_training.dataset.manifest import scan
from driftserve_training.preparation.preparation import prepare
from driftserve_training.sources.source import fetch
from image_folders import png

pytestmark = pytest.mark.fuzz

# Any name that Linux accepts. Some are UTF-8, some are not.
BYTES = st.binary(min_size=1, max_size=30) | st.text(min_size=1, max_size=7).map(
    lambda text: text.encode(errors="surrogatepass")
)
NAMES = BYTES.filter(lambda name: name not in (b".", b"..") and not {0, 47} & set(name))
IMAGES = [png(seed, side=32) for seed in range(6)]


@given(NAMES, NAMES)
def test_any_names_of_a_class_and_an_image_are_carried_through_or_refused(label: bytes, image: bytes) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        images = [(split, *name) for split in ("train", "val", "test") for name in ((label, image), (b"sea ice", b"1"))]
        for (split, folder, name), body in zip(images, IMAGES, strict=True):
            place = Path(scratch, "source", split, os.fsdecode(folder))
            place.mkdir(parents=True, exist_ok=True)
            (place / os.fsdecode(name + b".png")).write_bytes(body)
        is_whole = _is_done(lambda: prepare(Path(scratch, "source"), Path(scratch, "data")))
        is_taken = not (label.startswith((b".", b"__")) or image.startswith(b".") or label == b"sea ice")
        if label != b"sea ice":
            assert is_whole == (is_taken and _is_utf8(label) and _is_utf8(image))
        if is_whole:
            found = {os.fsencode(entry.path) for entry in scan(Path(scratch, "data")).entries}
            assert found == {
                os.fsencode(split) + b"/" + folder + b"/" + name + b".png" for split, folder, name in images
            }


@given(NAMES, st.booleans())
def test_any_name_in_a_zip_file_is_carried_through_or_refused(name: bytes, is_marked_utf8: bool) -> None:
    """Names in a zip file have a mark that says whether they are UTF-8. It may be wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "scenes.zip")
        file.write_bytes(_zip(name, is_marked_utf8))
        if _is_done(lambda: fetch(str(file), Path(scratch, "out"))) and is_marked_utf8:
            found = {path.name for path in Path(scratch, "out", "seg_train", "sea").iterdir()}
            assert found == {"0.png", *([name.decode() + ".png"] if name[:1] != b"." else [])}


def _is_done(call: Callable[[], object]) -> bool:
    """Return False if the call is refused, in a line that shows every byte of a name that is not UTF-8."""
    try:
        call()
    except DataError as error:
        reason = printable(error)
    else:
        return True
    assert reason.isprintable()
    return False


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _zip(name: bytes, is_marked_utf8: bool) -> bytes:
    """Return a zip file with two images of a class, one with this name, and one test image."""
    buffer = io.BytesIO()
    stand_in = "n" * len(name)  # of the same length, so that all offsets stay
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, image in zip(("train/sea/0", f"train/sea/{stand_in}", "test/sea/0"), IMAGES, strict=False):
            archive.writestr(f"{member}.png", image)
    body = bytearray(buffer.getvalue().replace(f"train/sea/{stand_in}.png".encode(), b"train/sea/" + name + b".png"))
    if is_marked_utf8:
        for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # APPNOTE.TXT 4.4.4: bit 11
            place = -1
            while (place := body.find(signature, place + 1)) >= 0:
                body[place + flags + 1] |= 0x08
    return bytes(body)
