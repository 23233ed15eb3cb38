"""What became of the films that `prepare` was given: the flow of exclusions, and licences. It stands in prepared.json,
and from there goes into a bundle's provenance and into evaluation.json."""

import json
from dataclasses import dataclass
from pathlib import Path

from model.data.dataset import MANIFEST
from model.json_value import ReadableJson

FLOW = "flow"
"""Its key in prepared.json."""


@dataclass(frozen=True, kw_only=True)
class Flow(ReadableJson):
    listed: int
    """Films that the tables name."""
    left_out: dict[str, int]
    """By reason."""
    prepared: int
    """Films taken; these and those left out are all that were listed."""
    licences: dict[str, int]
    """Films taken, by licence as stated."""


def read_flow(folder: Path) -> Flow | None:
    """Of a prepared set that was opened before; None where an earlier version prepared it.

    Raises:
        ValueError: it is there and malformed.
    """
    found = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get(FLOW)
    return None if found is None else Flow.read(found)
