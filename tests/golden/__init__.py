"""Recorded output: what was published, to the byte. `check` compares with it, or writes it anew."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ANEW = "RECORD_GOLDEN"
"""Environment variable: 1 writes the files anew instead of comparing."""
SHOWN = 40
"""Lines of the differences of one file."""


def check(folder: str, documents: Mapping[str, str]) -> None:
    """Fails the test where a document is not the recorded one, and shows how they differ.

    Args:
        folder: of FOLDER; it holds these documents and no other.
        documents: text by file name.
    """
    place = FOLDER / folder
    if os.environ.get(ANEW) == "1":
        place.mkdir(exist_ok=True)
        for name, text in documents.items():
            (place / name).write_bytes(text.encode())
    recorded = {path.name: path.read_bytes().decode() for path in place.iterdir()}
    assert sorted(recorded) == sorted(documents)
    differences = [line for name in recorded for line in _differences(name, recorded[name], documents[name])]
    if differences:
        pytest.fail("\n".join(["other than recorded in tests/golden:", *differences]), pytrace=False)


def _differences(name: str, recorded: str, now: str) -> list[str]:
    if recorded == now:
        return []
    lines = list(
        difflib.unified_diff(recorded.splitlines(), now.splitlines(), f"{name} recorded", f"{name} now", "", "", 1, "")
    )
    more = [f"... {len(lines) - SHOWN} lines more"] if len(lines) > SHOWN else []
    return [*(line[:300] for line in lines[:SHOWN]), *more] or [f"{name}: line ends differ"]
