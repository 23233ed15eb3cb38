"""A pack beside the hospital's whole audit trail, as `xrayq audit export` writes it: what a pack alone cannot prove.

The chain is computed from its first row to its last. Each row that the pack names must stand in it with the same
digest, and up to the chain's head of the pack there must be no row of its films that the pack has not.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from worker.audit import trail
from worker.evidence.manifest import Manifest, RowName, TrailTies

COLUMNS = {"id", "at", "action", "instance_id", "actor", "detail", "previous", "digest"}


def faults(export: Path, manifest: Manifest, ties: dict[int, TrailTies]) -> list[str]:
    """What does not fit, each a sentence.

    Args:
        ties: by instance id.

    Raises OSError.
    """
    wanted = {row.id: row.digest for one in ties.values() for row in _named(one)}
    own = {row.id for one in ties.values() for row in one.rows}
    found: list[str] = []
    head_seen = False
    previous = trail.FIRST
    try:
        for row in _rows(export):
            if row["previous"] != previous or row["digest"] != trail.digest_of(previous, row):
                return [*found, f"the exported audit trail is not whole at row {row['id']}"]
            previous = row["digest"]
            if wanted.pop(row["id"], previous) != previous:
                found.append(f"row {row['id']} of the exported audit trail is another than the pack has")
            if not head_seen and row["instance_id"] in ties and row["id"] not in own:
                found.append(f"film {row['instance_id']}: the pack lacks row {row['id']} of the exported audit trail")
            head_seen = head_seen or previous == manifest.audit_trail.head
    except (ValueError, TypeError, KeyError, RecursionError):
        return [*found, "the exported audit trail cannot be read: 'xrayq audit export' writes a row a line"]
    if not head_seen:
        found.append("the exported audit trail has not the head that the pack names")
    return found + [f"the exported audit trail has no row {key}, which the pack names" for key in sorted(wanted)]


def _named(ties: TrailTies) -> Iterator[RowName]:
    """Every row that a film's ties name."""
    for row in ties.rows:
        yield RowName(id=row.id, digest=row.digest)
        yield from (beside for beside in (row.before, row.after) if beside)
    yield from (day.head for day in ties.days if day.head)


def _rows(export: Path) -> Iterator[dict[str, Any]]:
    """Raises OSError, ValueError."""
    with export.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if not isinstance(row, dict) or set(row) != COLUMNS:
                raise ValueError("no row")
            yield row | {"at": datetime.fromisoformat(row["at"])}
