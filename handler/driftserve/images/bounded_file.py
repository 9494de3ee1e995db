"""A file in memory that limits how often, and how many bytes, a parser may read.

Pillow's parsers are Python loops around `read`. A file of a few megabytes can make them loop millions of times. A TIFF
of 25 MB can make them copy 25 MB for each of its 65,535 tags.
"""

from io import BytesIO

from driftserve.errors import UndecodableImage

# The largest body whose reads are not counted: it can do no harm, and counting slows a small JPEG by a tenth.
_UNCOUNTED_BYTES = 1 << 15
# The most reads for a header. A JPEG of 25 MB has 400 segments, and each takes 4 reads, so the limit leaves a margin.
_HEADER_READS = 10_000
# The most reads for the pixels. A PNG of 25 MB in chunks of only 256 bytes takes 400,000; an RLE bitmap takes two for
# each run.
_PIXEL_READS = 1_000_000
# The most bytes that may be read, as a multiple of the body's length. Pillow reads a TIFF's tags three
# times and its pixels once. Even if each were as long as the file, that is four times its length; one more is a margin.
_READS_OF_A_BYTE = 5


class BoundedFile(BytesIO):
    """A body as a file for Pillow, which may read a limited number of times and of bytes.

    At first the file allows only the few reads that a header needs. Bodies of up to 32 KiB have no limits.

    Attributes:
        is_in_pixels: set by the reader, when it begins to decode pixels.
    """

    is_in_pixels = False

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._reads_left = _HEADER_READS
        self._bytes_left = _READS_OF_A_BYTE * len(body)
        if len(body) <= _UNCOUNTED_BYTES:
            self.read = super().read  # type: ignore[method-assign]  # reads are not counted

    def allow_pixels(self) -> None:
        """Allow as many more reads as pixels may need. Call this after the header was accepted."""
        self._reads_left = _PIXEL_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as from any file.

        Raises:
            UndecodableImage: there were too many reads, or they returned too many bytes.
        """
        block = super().read(size)
        self._reads_left -= 1
        self._bytes_left -= len(block)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise UndecodableImage("expected an image in fewer parts, got one that needs too many reads; save it again")
        return block
