"""One finished study as a table: what `xrayq study` writes and the report of `xrayq evaluate` shows."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import DatasetError
from model.json_value import JsonValue

Cell = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class Study(JsonValue):
    study: str
    """Its kind, such as calibration."""
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str
    provenance: dict[str, Any]
    """JSON-ready: on which films, with what, by which command."""


def read_study(path: Path) -> Study:
    """A study's JSON; what else is in the file is left out. Raises DatasetError."""
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        width = len(study["columns"])
        if not all(isinstance(study[key], str) for key in ("study", "title", "note")):
            raise ValueError("study, title and note are texts")
        if not all(len(row) == width for row in study["rows"]):
            raise ValueError(f"a row has not {width} cells")
        return Study(
            study=study["study"],
            title=study["title"],
            columns=tuple(study["columns"]),
            rows=tuple(map(tuple, study["rows"])),
            note=study["note"],
            provenance=study["provenance"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not a study of 'xrayq study': {error}") from None
