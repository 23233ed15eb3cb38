"""A ZIP file whose every byte follows from its entries' names and contents (APPNOTE.TXT 6.3.10, without its options).

Entries are stored, not compressed: nothing can grow when it is read, and `read` knows each header to the byte. All
entries have the same date, and there is no comment, no extra field and no gap. So a pack is the same wherever it is
made, and what was changed in the container itself is found, too. Any program that reads ZIP files reads it.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from worker.errors import WorkerError

LOCAL = struct.Struct("<4sHHHHHLLLHH")
CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
END = struct.Struct("<4sHHHHLLH")
VERSION, UNIX = 20, 3
DATE = 0x21
"""1980-01-01, the first day that a ZIP file knows."""
MODE = 0o100600 << 16
"""As `unzip` shall make it: a pack holds patient data."""
MOST_BYTES, MOST_ENTRIES = 2**32 - 2, 2**16 - 2
"""Of a ZIP file without its 64-bit options."""
MOST_DIRECTORY = 16 << 20
"""Bytes: more than MOST_ENTRIES of our names take."""
CHUNK = 1 << 20
MOST_LINES = 2
"""Of the container that are named one by one. More were altered at once, by a program that zips files its own way."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
"""No path that leads out of a folder, and no sign that means something to a terminal."""
LONGEST_NAME = 160


@dataclass(frozen=True, kw_only=True)
class Written:
    """An entry that was written."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry that was found."""

    name: str
    offset: int
    """Of its content."""
    size: int
    crc: int


class ZipWriter:
    """Writes entries one after the other into an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._directory: list[bytes] = []
        self._offset = 0
        self.written: list[Written] = []

    def __enter__(self) -> "ZipWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """The directory, where all went well."""
        if kind is None:
            directory = b"".join(self._directory)
            self._file.write(directory + _end(len(self._directory), len(directory), self._offset))

    def add(self, name: str, content: bytes) -> None:
        """Raises WorkerError for more than a ZIP file holds, OSError."""
        self._begin(name, len(content), zlib.crc32(content), hashlib.sha256(content).hexdigest())
        self._file.write(content)

    def add_file(self, name: str, path: Path) -> None:
        """A copy of a file that does not change meanwhile. Raises WorkerError, OSError."""
        self._must_fit(name, path.stat().st_size)
        size, crc, digest = 0, 0, hashlib.sha256()
        with path.open("rb") as source:
            for chunk in iter(lambda: source.read(CHUNK), b""):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
                digest.update(chunk)
            self._begin(name, size, crc, digest.hexdigest())
            source.seek(0)
            for chunk in iter(lambda: source.read(CHUNK), b""):
                self._file.write(chunk)

    def _must_fit(self, name: str, size: int) -> int:
        """Where the entry will end."""
        end = self._offset + LOCAL.size + len(name) + size
        if end > MOST_BYTES - MOST_DIRECTORY or len(self._directory) == MOST_ENTRIES:
            raise WorkerError("a pack holds 4 GiB and 65,534 files: make one for each film of the study")
        return end

    def _begin(self, name: str, size: int, crc: int, sha256: str) -> None:
        header, end = _local(name.encode("ascii"), crc, size), self._must_fit(name, size)
        self._directory.append(_central(name.encode("ascii"), crc, size, self._offset))
        self._file.write(header)
        self._offset = end
        self.written.append(Written(name=name, sha256=sha256, size=size))


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What `read` found."""

    entries: tuple[Entry, ...]
    faults: tuple[str, ...]
    """What is not as `ZipWriter` writes it, each a sentence; with no entries the file cannot be read further."""


def read(file: BinaryIO) -> Contents:
    """Every entry of a file, and whether each byte outside of their contents is the one that `ZipWriter` writes.

    Contents are not looked at. Nothing is unpacked. Raises OSError.
    """
    size = file.seek(0, 2)
    end = _at(file, max(0, size - END.size), END.size).ljust(END.size, b"\0")
    mark, _, _, _, count, length, offset, _ = END.unpack(end)
    if mark != b"PK\5\6" or offset + length + END.size != size or length > MOST_DIRECTORY:
        is_zip = mark == b"PK\5\6" or _at(file, 0, 4) == b"PK\3\4"
        fault = (
            "the ZIP file has no whole end: it was cut short, altered or added to" if is_zip else "it is no ZIP file"
        )
        return Contents(entries=(), faults=(fault,))
    faults = [] if end == _end(count, length, offset) else ["the end of the ZIP file was altered"]
    entries: list[Entry] = []
    other_lines: list[str] = []
    place = 0
    for found in _directory(_at(file, offset, length), count):
        if isinstance(found, str):
            return Contents(entries=(), faults=(*faults, found))
        entry, line, begins = found
        if not NAME.fullmatch(entry.name) or len(entry.name) > LONGEST_NAME:
            faults.append(f"the ZIP file has an entry with a name that no pack has: {shown(entry.name)}")
            return Contents(entries=(), faults=tuple(faults))
        name = entry.name.encode("ascii")
        if begins != place or place + LOCAL.size + len(name) + entry.size > offset:
            faults.append(f"the ZIP file does not say rightly where {entry.name} lies")
            return Contents(entries=(), faults=tuple(faults))
        if line != _central(name, entry.crc, entry.size, begins):
            other_lines.append(f"the ZIP file's directory was altered where it tells of {entry.name}")
        if _at(file, begins, LOCAL.size + len(name)) != _local(name, entry.crc, entry.size):
            other_lines.append(f"the ZIP file's own lines before {entry.name} were altered")
        entries.append(entry)
        place = entry.offset + entry.size
    if len(other_lines) > MOST_LINES:
        other_lines = [f"another program wrote the ZIP file anew, or {len(other_lines)} of its own lines were altered"]
    faults += other_lines
    if place != offset:
        faults.append("the ZIP file has bytes that belong to no entry")
    return Contents(entries=tuple(entries), faults=tuple(faults))


def shown(name: str) -> str:
    """A name from outside, so that a terminal takes nothing of it for an order."""
    return ascii(name[:LONGEST_NAME])


def chunks(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Its content, piece by piece."""
    file.seek(entry.offset)
    left = entry.size
    while left and (chunk := file.read(min(CHUNK, left))):
        left -= len(chunk)
        yield chunk


def _directory(lines: bytes, count: int) -> Iterator[tuple[Entry, bytes, int] | str]:
    """Entry, its line, and where its header begins; or what ends the reading."""
    place = 0
    for _ in range(count):
        if place + CENTRAL.size > len(lines):
            yield "the ZIP file's directory is cut short"
            return
        fields = CENTRAL.unpack_from(lines, place)
        mark, method, crc, packed, size, name_length, begins = (fields[index] for index in (0, 4, 7, 8, 9, 10, 16))
        extra, comment = fields[11], fields[12]
        after = place + CENTRAL.size + name_length + extra + comment
        if mark != b"PK\1\2" or after > len(lines):
            yield "the ZIP file's directory was altered: it cannot be read"
            return
        name = lines[place + CENTRAL.size :][:name_length].decode("latin-1")
        if method or packed != size:
            yield f"the ZIP file has a compressed entry, {shown(name)}: a pack has none, and nothing is unpacked"
            return
        offset = begins + LOCAL.size + name_length
        yield Entry(name=name, offset=offset, size=size, crc=crc), lines[place:after], begins
        place = after
    if place != len(lines):
        yield "the ZIP file's directory has bytes that belong to no entry"


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _local(name: bytes, crc: int, size: int) -> bytes:
    return LOCAL.pack(b"PK\3\4", VERSION, 0, 0, 0, DATE, crc, size, size, len(name), 0) + name


def _central(name: bytes, crc: int, size: int, offset: int) -> bytes:
    made_by = UNIX << 8 | VERSION
    return (
        CENTRAL.pack(
            *(b"PK\1\2", made_by, VERSION, 0, 0, 0, DATE, crc, size, size, len(name)), *(0, 0, 0, 0, MODE, offset)
        )
        + name
    )


def _end(count: int, length: int, offset: int) -> bytes:
    return END.pack(b"PK\5\6", 0, 0, count, count, length, offset, 0)
