"""A pack's container: other programs read it, and each of its bytes is known."""

import os
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from worker.errors import WorkerError
from worker.evidence import zip_file
from worker.evidence.opened import OpenedPack
from worker.evidence.zip_file import ZipWriter

FILES = {"README.txt": b"read me", "film-1/empty.json": b"", "film-1/a.json": b"{}\n"}


def written() -> bytes:
    made = BytesIO()
    with ZipWriter(made) as pack:
        for name, content in FILES.items():
            pack.add(name, content)
    return made.getvalue()


def found(content: bytes) -> tuple[dict[str, bytes], list[str]]:
    """Entries and faults, those of check sums too."""
    file = BytesIO(content)
    contents = zip_file.read(file)
    pack = OpenedPack(file, contents.entries)
    return {name: pack.content(name) for name in pack.entries}, [*contents.faults, *pack.crc_differs]


def test_what_was_written_is_read() -> None:
    assert found(written()) == (FILES, [])
    assert written() == written()


def test_another_program_reads_it(tmp_path: Path) -> None:
    with ZipFile(BytesIO(written())) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == FILES
        opened.extractall(tmp_path)
    assert (tmp_path / "film-1" / "a.json").read_bytes() == b"{}\n"


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_each_byte_counts(bit: int) -> None:
    whole = written()
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 1 << bit
        _, faults = found(bytes(altered))
        assert faults, place


def test_each_byte_that_is_cut_off_or_added() -> None:
    whole = written()
    for length in range(len(whole)):
        assert found(whole[:length])[1], length
    for place in range(len(whole) + 1):
        assert found(whole[:place] + b"\0" + whole[place:])[1], place


def test_a_large_file_is_copied(tmp_path: Path) -> None:
    content = os.urandom(zip_file.CHUNK + 5)
    (tmp_path / "film.dcm").write_bytes(content)
    with (tmp_path / "pack.zip").open("wb") as file, ZipWriter(file) as pack:
        pack.add_file("film-1/film.dcm", tmp_path / "film.dcm")
    assert found((tmp_path / "pack.zip").read_bytes()) == ({"film-1/film.dcm": content}, [])


def test_more_than_a_zip_file_holds(tmp_path: Path) -> None:
    large = tmp_path / "film.dcm"
    with large.open("wb") as file:
        file.truncate(zip_file.MOST_BYTES)
    with pytest.raises(WorkerError, match="a pack holds 4 GiB"), (tmp_path / "pack.zip").open("wb") as out:
        ZipWriter(out).add_file("film-1/film.dcm", large)
    assert (tmp_path / "pack.zip").stat().st_size == 0
