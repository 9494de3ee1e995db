"""A file in memory that ends a parser's work when it reads more than an honest file makes it read.

Pillow's parsers are Python loops around `read`. A few megabytes can send them round millions of times, and a
TIFF directory can have its own 25 MB copied for each of 65,535 tags.
"""

from io import BytesIO

from driftserve.errors import UndecodableImage

# Too little to do harm with; such a body is read without counting, which would cost a small JPEG a tenth.
_HARMLESS_BYTES = 1 << 15
# A JPEG of 25 MB has 400 segments of 4 reads each, a TIFF's first directory is read three times over.
_HEADER_READS = 10_000
# A PNG of 25 MB in IDAT chunks of 256 bytes takes 400,000; a run of an RLE bitmap takes two.
_PIXEL_READS = 1_000_000
# A TIFF's tags are read three times, its pixels once.
_READS_OF_A_BYTE = 5


class BoundedFile(BytesIO):
    """The bytes as a file for Pillow; reading its header is bounded tightly, its pixels less so."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._reads_left = _HEADER_READS
        self._bytes_left = _READS_OF_A_BYTE * len(body)
        if len(body) <= _HARMLESS_BYTES:
            self.read = super().read  # type: ignore[method-assign]  # not counted

    def allow_pixels(self) -> None:
        """Allow what it takes to read the pixels, once the header has passed."""
        self._reads_left = _PIXEL_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file.

        Raises:
            UndecodableImage: it was read too often, or too much of it.
        """
        block = super().read(size)
        self._reads_left -= 1
        self._bytes_left -= len(block)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise UndecodableImage("expected an image, got one in far too many parts; save it again")
        return block
