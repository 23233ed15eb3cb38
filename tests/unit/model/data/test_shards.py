"""Films out of tar shards: each once, one at a time, and what is wrong with a shard."""

import io
import tarfile
from pathlib import Path

import pytest

from model.data.shards import read_shards
from model.errors import DatasetError


def write_shard(path: Path, files: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def rows(*names: str) -> list[dict[str, str]]:
    """Of "shard/file"."""
    return [dict(zip(("shard", "file"), name.split("/"), strict=True)) for name in names]


def test_each_film_comes_with_the_number_of_its_row(tmp_path: Path) -> None:
    write_shard(tmp_path / "b.tar", {"x": b"bx", "y": b"by"})
    write_shard(tmp_path / "a.tar", {"z": b"az", "x": b"ax"})
    wanted = rows("b.tar/y", "a.tar/x", "b.tar/x", "a.tar/x")
    assert sorted(read_shards(tmp_path, wanted)) == [(0, b"by"), (1, b"ax"), (2, b"bx"), (3, b"ax")]


def test_a_film_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    """The second shard is not there: the first film comes all the same."""
    write_shard(tmp_path / "a.tar", {"x": b"ax"})
    films = read_shards(tmp_path, rows("a.tar/x", "b.tar/x"))
    assert next(films) == (0, b"ax")
    with pytest.raises(DatasetError, match=r"b\.tar is missing"):
        next(films)


def test_a_packed_shard_is_read_too(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"x": b"ax"}, "w:gz")
    assert list(read_shards(tmp_path, rows("a.tar/x"))) == [(0, b"ax")]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_cut_shard_is_named(tmp_path: Path, mode: str, share: float) -> None:
    content = bytes(range(256)) * 40
    write_shard(tmp_path / "a.tar", {"x": content, "y": content[::-1]}, mode)
    whole = (tmp_path / "a.tar").read_bytes()
    used = len(whole) if mode != "w" else 2 * (len(content) + 512)  # a tar file ends with zeros
    (tmp_path / "a.tar").write_bytes(whole[: int(used * share)])
    with pytest.raises(DatasetError, match=r"a\.tar is not a readable tar file|1 films that .* in no shard"):
        list(read_shards(tmp_path, rows("a.tar/x", "a.tar/y")))


def test_films_in_no_shard_are_counted(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"x": b"ax"})
    with pytest.raises(DatasetError, match=r"2 films that .* lists are in no shard"):
        list(read_shards(tmp_path, rows("a.tar/x", "a.tar/y", "a.tar/z")))
