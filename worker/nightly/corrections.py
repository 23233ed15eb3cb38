"""A day's films that came again under their SOP Instance UID as another patient's, study's or side's."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, null, select

from dicom_gateway.revision import UNKNOWN
from model.findings import in_order
from worker.audit.reconciliation import CHAINED
from worker.db.scores import LIVE_OF_FILM
from worker.db.span import Span
from worker.db.tables import audit_event, finding_score, instance, score


def of_day(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """Revisions of the day of another identity than the revision before, or of which nobody can tell.

    Keys: id, calling_ae, received_at, identity_changed (keywords, or ["unknown"]), earlier: every revision before it,
    with id, calling_ae, received_at, state and flags.
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
    same_uid = (instance.c.sop_instance_uid == film.sop_instance_uid) & instance.c.is_film
    before = same_uid & (instance.c.revision < film.revision)
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, instance.c.received_at, instance.c.state, finding_score.c.finding)
        .outerjoin(score, LIVE_OF_FILM)
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
    """A sentence for each sender, and one more for what could not be compared."""
    changed, unread = parted(content)
    for calling_ae, films in _by_sender(changed):
        scores = sum(bool(_scored(one)) for one in films)
        said = f"{calling_ae}: {_films(films)} came again as another patient's, study's or side's (see Corrections)."
        if scores:
            stand = (
                "1 has an earlier score that stands" if scores == 1 else f"{scores:,} have earlier scores that stand"
            )
            said += (
                f" Of these, {stand} under the identity before. Find out who received the earlier "
                f"{'score' if scores == 1 else 'scores'}, and correct it there."
            )
        yield said
    for calling_ae, films in _by_sender(unread):
        file = "file" if len(films) == 1 else "files"
        yield (
            f"{calling_ae}: {_films(films)} came again and could not be compared: the earlier {file} could not be read "
            "(see Corrections). Where the spool was cleaned, this is no fault."
        )


def parted(content: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Films whose identity changed, and those that could not be compared with the film before."""
    films = content["identity_changed"]
    unread = [one for one in films if one["identity_changed"] == [UNKNOWN]]
    return [one for one in films if one["identity_changed"] != [UNKNOWN]], unread


def _by_sender(films: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    of_sender: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in films:
        of_sender[one["calling_ae"]].append(one)
    return sorted(of_sender.items())


def _films(films: list[dict[str, Any]]) -> str:
    return "1 film" if len(films) == 1 else f"{len(films):,} films"


def _scored(film: dict[str, Any]) -> list[int]:
    return [one["id"] for one in film["earlier"] if one["state"] in ("scored", "reported")]
