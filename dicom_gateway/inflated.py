"""A deflated data set (PS3.5 A.5) read as if it were plain, in bounded memory.

A megabyte may inflate to a gigabyte. So it is inflated twice: once to count its bytes, of which nothing is kept, and
once for what is read of it. What comes before the pixels is kept for reading to and fro, HEAD bytes of it at most;
pixels are read in order.
"""

import io
import threading
import zlib
from typing import BinaryIO

from dicom_gateway.errors import Malformed, TooLarge, Truncated

CHUNK = 64 << 10
"""Bytes taken from the file, and given back inflated, at a time."""
HEAD = 16 << 20
"""Most bytes of a deflated data set that may stand before Pixel Data."""
AT_ONCE = threading.BoundedSemaphore(2)
"""Data sets whose head a process inflates at the same time, over all associations: so many times HEAD are held."""


class Inflater:
    """Inflates a file from a place on, in order. Holds no more than a chunk."""

    def __init__(self, handle: BinaryIO, start: int) -> None:
        self._handle = handle
        self._next = start
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        self.position = 0
        """Bytes inflated so far."""

    def read(self, most: int = CHUNK) -> bytes:
        """The next bytes, `most` at most; b"" at the end. Raises Malformed, Truncated."""
        while not self._zlib.eof:
            coded = self._zlib.unconsumed_tail or self._take()
            try:
                plain = self._zlib.decompress(coded, most)
            except zlib.error:
                raise Malformed from None
            if plain:
                self.position += len(plain)
                return plain
            if not coded:
                raise Truncated
        return b""

    def _take(self) -> bytes:
        self._handle.seek(self._next)
        coded = self._handle.read(CHUNK)
        self._next += len(coded)
        return coded


def inflated_size(handle: BinaryIO, start: int, most: int | None) -> int:
    """Bytes of a whole deflated data set. Raises Malformed, Truncated, and TooLarge beyond `most`."""
    inflater = Inflater(handle, start)
    while inflater.read():
        if most is not None and inflater.position > most:
            raise TooLarge
    return inflater.position


class InflatedStream(io.RawIOBase):
    """The data set as a file to read: its head to and fro until `leave_head`, then all of it in order."""

    def __init__(self, handle: BinaryIO, start: int, size: int) -> None:
        """
        Args:
            size: bytes when inflated, or more where nobody counted them.
        """
        self._handle, self._start, self._size = handle, start, size
        self._head: bytearray | None = bytearray()
        self._inflater = Inflater(handle, start)
        self._position = 0

    def leave_head(self) -> None:
        """The header is read. Give back what was kept of it; reading backwards now inflates all of it again."""
        self._head = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Raises TooLarge beyond HEAD, until `leave_head`."""
        begin, left = self._position, max(self._size - self._position, 0)
        end = begin + (left if size < 0 else min(size, left))
        plain = self._onward(begin, end) if self._head is None else self._of_head(self._head, begin, end)
        self._position = begin + len(plain)
        return plain

    def _of_head(self, head: bytearray, begin: int, end: int) -> bytes:
        if end > HEAD:
            raise TooLarge
        while len(head) < end and (plain := self._inflater.read(min(CHUNK, HEAD - len(head)))):
            head += plain
        return bytes(head[begin:end])

    def _onward(self, begin: int, end: int) -> bytes:
        if self._inflater.position > begin:
            self._inflater = Inflater(self._handle, self._start)
        while (before := begin - self._inflater.position) and self._inflater.read(min(CHUNK, before)):
            pass
        plain = bytearray()
        while (left := end - begin - len(plain)) and (chunk := self._inflater.read(min(CHUNK, left))):
            plain += chunk
        return bytes(plain)
