"""Films in tar shards beside their table. They are read in the order they lie in, and nothing is extracted to disk."""

import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from model.errors import DatasetError


def read_shards(folder: Path, rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[int, bytes]]:
    """The file of each row, shard by shard: the row's number, and the file's bytes. One film is in memory at a time.

    Args:
        folder: where the shards lie.
        rows: with the cells `shard` and `file`, the file's name in the shard.

    Raises:
        DatasetError: a shard is missing or not a tar file, or a film is in no shard.
    """
    wanted: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(rows):
        wanted[row["shard"]][row["file"]].append(number)
    missing = 0
    for shard, numbers in sorted(wanted.items()):
        for name, content in _members(folder / shard, set(numbers)):
            for number in numbers.pop(name, []):
                yield number, content
        missing += sum(map(len, numbers.values()))
    if missing:
        raise DatasetError(f"{missing} films that {folder} lists are in no shard")


def _members(shard: Path, names: set[str]) -> Iterator[tuple[str, bytes]]:
    if not shard.is_file():
        raise DatasetError(f"{shard} is missing")
    try:
        with tarfile.open(shard) as archive:
            for member in archive:
                handle = archive.extractfile(member) if member.name in names else None
                if handle:
                    yield member.name, handle.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DatasetError(f"{shard} is not a readable tar file") from error
