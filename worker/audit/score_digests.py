"""A score's digest: what the event that tells of a score holds, so that a score changed by hand is found.

It is SHA-256, hex, over what the rows of `score` and `finding_score` say, as they are read back from the database: JSON
with sorted keys and no spaces, findings by name, times in UTC with microseconds, numbers by the shortest digits that
give the same float64, and without the ids of rows. Null is left out: a column of a later release, which is null in
older rows, changes no digest of theirs.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, select

from worker.db.tables import finding_score, score

IN_DETAIL = "score"
"""Where the detail of the event has the digest. The bundle's own is beside it, in `bundle`."""
OF_SCORE: tuple[Column[Any], ...] = tuple(column for column in score.c if column.name not in ("id", "instance_id"))
OF_FINDING: tuple[Column[Any], ...] = tuple(
    column for column in finding_score.c if column.name not in ("score_id", "finding")
)


@dataclass(frozen=True, kw_only=True)
class StoredScore:
    """A score as the database has it."""

    instance_id: int
    bundle: str
    """Digest of the bundle that scored."""
    role: str
    digest: str


def written(connection: Connection, bundle: str, instance_ids: Sequence[int]) -> dict[int, str]:
    """Digests of scores that this transaction wrote, by instance id.

    Args:
        bundle: digest of the bundle that scored.
    """
    which = and_(score.c.instance_id.in_(instance_ids), score.c.bundle_digest == bundle)
    return {one.instance_id: one.digest for one in stored(connection, which)} if instance_ids else {}


def stored(connection: Connection, which: ColumnElement[bool]) -> list[StoredScore]:
    """Scores with their digests, in no order.

    Args:
        which: a condition on `score`.

    Raises:
        ValueError: a row has a time or a list that is none; SQLite takes it from a person.
    """
    return [
        StoredScore(
            instance_id=instance_id,
            bundle=said["bundle_digest"],
            role=said["role"],
            digest=hashlib.sha256(text_of(said)).hexdigest(),
        )
        for instance_id, said in contents(connection, which)
    ]


def contents(connection: Connection, which: ColumnElement[bool]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Instance id and content of scores: what `text_of` makes the bytes of whose SHA-256 is the digest.

    Args, Raises: as of `stored`.
    """
    findings: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    of_findings = select(finding_score.c.score_id, finding_score.c.finding, *OF_FINDING)
    for key, finding, *values in connection.execute(
        of_findings.join(score, finding_score.c.score_id == score.c.id).where(which)
    ):
        findings[key][finding] = _said(OF_FINDING, values)
    of_scores = select(score.c.id, score.c.instance_id, *OF_SCORE)
    for key, instance_id, *values in connection.execute(of_scores.where(which)):
        yield instance_id, _said(OF_SCORE, values) | {"findings": findings[key]}


def _said(columns: tuple[Column[Any], ...], values: Sequence[Any]) -> dict[str, Any]:
    return {column.name: value for column, value in zip(columns, values, strict=True) if value is not None}


def text_of(said: dict[str, Any]) -> bytes:
    """The content of a score as the digest takes it."""
    return json.dumps(said, sort_keys=True, separators=(",", ":"), default=_as_text).encode()


def _as_text(value: object) -> str:
    """A time; or bytes, which SQLite takes from a person in any column."""
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else repr(value)
