"""A day's films that came again under their SOP Instance UID as another patient's or study's."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, null, select

from model.findings import in_order
from worker.audit.reconciliation import CHAINED, Span
from worker.db.tables import audit_event, finding_score, instance, score


def of_day(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """Revisions of the day of another identity than the revision before.

    Keys: id, calling_ae, received_at, identity_changed (keywords), earlier: every revision before it, with id,
    calling_ae, received_at, state and flags.
    """
    changed = span.covers(instance.c.received_at) & instance.c.identity_changed.is_not(null())
    rows = [
        row
        for row in connection.execute(select(instance).where(changed).order_by(instance.c.id))
        if row.identity_changed
    ]
    return [
        {name: getattr(row, name) for name in ("id", "calling_ae", "identity_changed")}
        | {"received_at": row.received_at.isoformat(timespec="seconds"), "earlier": _earlier(connection, row)}
        for row in rows
    ]


def _earlier(connection: Connection, film: Any) -> list[dict[str, Any]]:
    before = (instance.c.sop_instance_uid == film.sop_instance_uid) & (instance.c.revision < film.revision)
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, instance.c.received_at, instance.c.state, finding_score.c.finding)
        .outerjoin(score, (score.c.instance_id == instance.c.id) & (score.c.role == "live"))
        .outerjoin(finding_score, (finding_score.c.score_id == score.c.id) & finding_score.c.flag)
        .where(before)
        .order_by(instance.c.revision)
    )
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        one = {name: getattr(row, name) for name in ("id", "calling_ae", "state")} | {"flags": []}
        one["received_at"] = row.received_at.isoformat(timespec="seconds")
        flags = found.setdefault(row.id, one)["flags"]
        if row.finding:
            flags.append(row.finding)
    return [one | {"flags": in_order(one["flags"])} for one in found.values()]


def demographics(connection: Connection, span: Span) -> dict[str, int]:
    """Films sent again on the day with another name or sex of the same Patient ID, by AE: no new work."""
    rows = connection.execute(
        select(audit_event.c.actor, audit_event.c.detail).where(
            audit_event.c.action == "duplicate", span.covers(audit_event.c.at), CHAINED
        )
    )
    return dict(sorted(Counter(row.actor for row in rows if row.detail.get("demographics_changed")).items()))


def remarks(content: dict[str, Any]) -> Iterable[str]:
    """A sentence for each sender."""
    of_sender: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in content["identity_changed"]:
        of_sender[one["calling_ae"]].append(one)
    for calling_ae, films in sorted(of_sender.items()):
        number, scores = len(films), sum(bool(_scored(one)) for one in films)
        came = "1 film came again as another" if number == 1 else f"{number:,} films came again as another"
        said = f"{calling_ae}: {came} patient's or study's (see Corrections)."
        if scores:
            stand = (
                "1 has an earlier score that stands" if scores == 1 else f"{scores:,} have earlier scores that stand"
            )
            said += (
                f" Of these, {stand} under the identity before. Find out who received the earlier "
                f"{'score' if scores == 1 else 'scores'}, and correct it there."
            )
        yield said


def _scored(film: dict[str, Any]) -> list[int]:
    return [one["id"] for one in film["earlier"] if one["state"] in ("scored", "reported")]
