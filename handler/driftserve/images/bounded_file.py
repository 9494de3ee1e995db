"""A file in memory that limits how often, and how many bytes, a parser may read.

Pillow's parsers are Python loops around `read`. A few megabytes can make them loop millions of times, and a TIFF
directory can make them copy its own 25 MB for each of 65,535 tags.
"""

from io import BytesIO

from driftserve.errors import UndecodableImage

# A body of this size is harmless. Its reads are not counted, since counting slows a small JPEG by a tenth.
_HARMLESS_BYTES = 1 << 15
# A JPEG of 25 MB has 400 segments of 4 reads each; a TIFF's first directory is read three times.
_HEADER_READS = 10_000
# A PNG of 25 MB in IDAT chunks of 256 bytes takes 400,000 reads; a run of an RLE bitmap takes two.
_PIXEL_READS = 1_000_000
# A TIFF's tags are read three times, its pixels once.
_READS_OF_A_BYTE = 5


class BoundedFile(BytesIO):
    """The bytes as a file for Pillow, with a low limit of reads for the header and a high one for the pixels."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._reads_left = _HEADER_READS
        self._bytes_left = _READS_OF_A_BYTE * len(body)
        if len(body) <= _HARMLESS_BYTES:
            self.read = super().read  # type: ignore[method-assign]  # not counted

    def allow_pixels(self) -> None:
        """Raise the limit of reads for the pixels, after the header was accepted."""
        self._reads_left = _PIXEL_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as from any file.

        Raises:
            UndecodableImage: there were too many reads, or too many bytes were read.
        """
        block = super().read(size)
        self._reads_left -= 1
        self._bytes_left -= len(block)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise UndecodableImage("expected an image in fewer parts, got too many; save it again")
        return block
