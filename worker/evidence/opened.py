"""A pack that is open to be verified: its entries by name, read when they are asked for."""

import hashlib
import json
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO

from worker.evidence import layout, zip_file
from worker.evidence.zip_file import Entry

MOST_READ = 16 << 20
"""Bytes of a file that is read whole; ten times a large one of ours."""


class OpenedPack:
    """Reads from the file as it lies there."""

    def __init__(self, file: BinaryIO, entries: Iterable[Entry]) -> None:
        self._file = file
        self.entries = {entry.name: entry for entry in entries}
        self.digests: dict[str, str] = {}
        """SHA-256 of each."""
        self.crc_differs: list[str] = []
        """Names of those whose content is not what the ZIP file's own check sum says."""
        for entry in self.entries.values():
            digest, crc = hashlib.sha256(), 0
            for chunk in zip_file.chunks(file, entry):
                digest.update(chunk)
                crc = zlib.crc32(chunk, crc)
            self.digests[entry.name] = digest.hexdigest()
            if crc != entry.crc:
                self.crc_differs.append(entry.name)

    def named(self, start: str) -> list[str]:
        """Names that begin so, sorted."""
        return sorted(name for name in self.entries if name.startswith(start))

    def content(self, name: str) -> bytes:
        """Raises ValueError where there is no such file, or it is too large."""
        entry = self.entries.get(name)
        if entry is None or entry.size > MOST_READ:
            raise ValueError(name)
        return b"".join(zip_file.chunks(self._file, entry))

    def json(self, name: str) -> Any:
        """Raises ValueError."""
        try:
            return json.loads(self.content(name))
        except RecursionError:
            raise ValueError(name) from None

    def data_set_digest(self, name: str) -> str:
        """SHA-256 of the data set of a DICOM file. Raises ValueError."""
        entry = self.entries.get(name)
        if entry is None:
            raise ValueError(name)
        digest, place, offset = hashlib.sha256(), 0, 0
        for chunk in zip_file.chunks(self._file, entry):
            offset = offset or layout.data_set_offset(chunk)
            digest.update(chunk[max(0, offset - place) :])
            place += len(chunk)
        return digest.hexdigest()
