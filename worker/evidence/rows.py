"""What the database says of a film, as JSON: row, gate measures, scores as written, deliveries, alarms of its days.

Rows are written column by column as the tables have them, so that a column of a later release is in the pack, too.
Columns that say who a patient is are not in these tables; the Accession Number's digest, which can be asked for by
whoever has the key, is left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, Table, and_, or_, select

from model.json_value import plain
from worker.alarms.rules import BY_ID
from worker.audit.score_digests import contents, text_of
from worker.db.span import Span
from worker.db.tables import alarm, film_measure, metadata, score
from worker.reporting.listing import ResultState, of_instance

LEFT_OUT = ("accession_digest",)
DELIVERIES = ("sent_object", "sent_message")
"""Tables of what was sent, by instance_id, as far as this release has them."""


NOT_SENT = (ResultState.WAITS, ResultState.GIVEN_UP)


@dataclass(frozen=True, kw_only=True)
class WrittenScore:
    """A score as it was written."""

    role: str
    bundle: str
    text: bytes
    """The bytes whose SHA-256 the event of the score holds."""


def of_film(connection: Connection, film: Row[Any]) -> dict[str, Any]:
    """Its row of `instance`, and what the gate measured of it, where it came so far."""
    row = {name: _value(value) for name, value in film._mapping.items() if name not in LEFT_OUT}
    measured = connection.execute(select(film_measure).where(film_measure.c.instance_id == film.id)).mappings()
    measures = [{name: _value(value) for name, value in found.items()} for found in measured]
    return {"row": row, "measures": measures[0] if measures else None}


def scores(connection: Connection, instance_id: int) -> list[WrittenScore]:
    """Live first. Raises ValueError where the rows cannot be read: they were altered."""
    found = [
        WrittenScore(role=said["role"], bundle=said["bundle_digest"], text=text_of(said))
        for _, said in contents(connection, score.c.instance_id == instance_id)
    ]
    return sorted(found, key=lambda written: (written.role, written.bundle))


def deliveries(connection: Connection, instance_id: int) -> dict[str, list[dict[str, Any]]]:
    """Every row of what was sent, by table; what waits or was given up; and whether the destination says that it holds
    what was sent."""
    tables = [metadata.tables[name] for name in DELIVERIES if name in metadata.tables]
    rows = {table.name: _of(connection, table, instance_id) for table in tables}
    states: dict[str, list[dict[str, Any]]] = {"not_sent": [], "sent": []}
    for result in of_instance(connection, instance_id):
        states["not_sent" if result.state in NOT_SENT else "sent"].append(result.as_dict())
    return rows | states


def alarms(connection: Connection, days: Iterable[date], zone: ZoneInfo) -> list[dict[str, Any]]:
    """What stood on each day of the site, of whatever sender.

    Their texts are left out, and what they are about: those may name films of others.
    """
    return [
        {
            "day": day.isoformat(),
            "zone": zone.key,
            "alarms": [_alarm(row) for row in connection.execute(_stood(Span.of_day(day, zone)))],
        }
        for day in days
    ]


def _of(connection: Connection, table: Table, instance_id: int) -> list[dict[str, Any]]:
    query = select(table).where(table.c.instance_id == instance_id).order_by(table.c.id)
    rows = connection.execute(query).mappings()
    return [{name: _value(value) for name, value in row.items()} for row in rows]


def _value(value: Any) -> Any:
    return plain(value, timespec="microseconds")


def _stood(span: Span) -> Any:
    open_then = and_(alarm.c.raised_at < span.end, or_(alarm.c.cleared_at.is_(None), alarm.c.cleared_at >= span.start))
    return select(alarm).where(open_then).order_by(alarm.c.raised_at, alarm.c.id)


def _alarm(row: Row[Any]) -> dict[str, Any]:
    known = row.acknowledged or {}
    return {
        "rule": row.rule,
        "meaning": BY_ID[row.rule].meaning if row.rule in BY_ID else "",
        "subject": row.subject,
        "value": row.value,
        "threshold": row.threshold,
        "raised_at": plain(row.raised_at),
        "cleared_at": plain(row.cleared_at),
        "acknowledged_at": known.get("at"),
        "acknowledged_by": known.get("by"),
    }
