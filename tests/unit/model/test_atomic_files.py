"""All files or none, and nothing is left beside them."""

import os
from pathlib import Path

import pytest

from model.atomic_files import write_texts


def test_all_are_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    write_texts({tmp_path / "a": "new\u00e9", tmp_path / "b": "more"})
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        "a": "new\u00e9",
        "b": "more",
    }


@pytest.mark.parametrize("bad", ["nowhere/b", "folder"])
def test_one_that_cannot_be_written_leaves_the_others_as_they_were(tmp_path: Path, bad: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match=bad):
        write_texts({tmp_path / "a": "new", tmp_path / bad: "more"})
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]


def test_a_link_and_a_device_stay(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "null").symlink_to(os.devnull)
    write_texts({tmp_path / "link": "new", tmp_path / "null": "lost"})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert Path(os.devnull).is_char_device()
