"""What unknown peers sent: kept and not scored, until a person admits or rejects it (`worker.peers.leaving`).

It is in the state quarantined and not `admitted`, so it counts nowhere: in no study, in no figure of a device, and as
no revision that another film is compared with. Its row here has what is known of its sender.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, case, func, insert, select

from dicom_gateway.peers import Certificate, Connected, Unknown, why_unknown
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time
from worker.db.tables import audit_event, instance, quarantine
from worker.peers import table
from worker.states import State

FURTHER = "(further senders)"
"""Longer than the 16 characters of an AE title, so none is called so."""
MOST_SENDERS = 1000
"""That are told apart: anybody can send any title."""

TOLD_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class HeldSender:
    """What one AE sent from one address."""

    calling_ae: str
    """FURTHER for those beyond MOST_SENDERS, all together."""
    address: str
    why: Unknown | None
    """None of FURTHER."""
    films: int
    other_objects: int
    since: datetime
    """When the first of them came."""
    last: datetime

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {
            "why": self.why.name if self.why else "",
            "since": self.since.isoformat(),
            "last": self.last.isoformat(),
        }


def still_unknown(connection: Connection, sent_by: Connected) -> Unknown | None:
    """Asked in the transaction that would put an object into quarantine, under the table's lock. None: its sender has
    been admitted since it connected, or since this process read the table last."""
    return why_unknown(table.read(connection), sent_by)


def hold(connection: Connection, instance_id: int, sent_by: Connected, why: Unknown) -> dict[str, Any]:
    """The row of an instance that is in quarantine. Returns its event."""
    shown = sent_by.certificate or Certificate(subject="", sha256="")
    row = {"instance_id": instance_id, "address": sent_by.address[:64], "why": why.name}
    row |= {"certificate_subject": shown.subject[:256], "certificate_sha256": shown.sha256}
    connection.execute(insert(quarantine), row)
    detail = {"why": why.name, "address": sent_by.address[:64]}
    return trail.event(action=Action.QUARANTINED, instance_id=instance_id, actor=sent_by.calling_ae, detail=detail)


def was_told(connection: Connection, instance_id: int) -> bool:
    """Whether the trail says of the last hour that an unknown peer sent this object again.

    One event an hour is enough, whoever sends: what is not kept counts toward no bound, and a title is made up quickly.
    """
    again = select(audit_event.c.id).where(
        audit_event.c.instance_id == instance_id,
        audit_event.c.action == Action.DUPLICATE,
        audit_event.c.at > database_time(connection) - TOLD_AGAIN,
        audit_event.c.detail["unknown_sender"].as_string().is_not(None),
    )
    return connection.execute(again.limit(1)).first() is not None


def held_senders(connection: Connection, most: int = MOST_SENDERS) -> list[HeldSender]:
    """Oldest first."""
    films = func.coalesce(func.sum(case((instance.c.is_film, 1), else_=0)), 0)
    first, last = func.min(instance.c.received_at), func.max(instance.c.received_at)
    by = (instance.c.calling_ae, quarantine.c.address, quarantine.c.why)
    query = (
        select(films.label("films"), func.count().label("objects"), first.label("since"), last.label("last"))
        .join(quarantine, quarantine.c.instance_id == instance.c.id)
        .where(instance.c.state == State.QUARANTINED)  # so that SQLite goes by an index, and reads not every film
    )
    grouped = query.add_columns(*by).group_by(*by).order_by(first, *by).limit(most + 1)
    rows = connection.execute(grouped).all()
    found = [
        HeldSender(
            calling_ae=row.calling_ae,
            address=row.address,
            why=Unknown[row.why],
            films=row.films,
            other_objects=row.objects - row.films,
            since=row.since,
            last=row.last,
        )
        for row in rows[:most]
    ]
    if len(rows) > most:
        row = connection.execute(query).one()
        named = sum(sender.films for sender in found)
        objects = sum(sender.films + sender.other_objects for sender in found)
        found.append(
            HeldSender(
                calling_ae=FURTHER,
                address="",
                why=None,
                films=row.films - named,
                other_objects=row.objects - objects - (row.films - named),
                since=rows[most].since,
                last=row.last,
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class HeldObject:
    """One object in quarantine."""

    id: int
    calling_ae: str
    address: str
    why: Unknown
    certificate_subject: str
    """Of what its sender showed over TLS, "" for nothing."""
    is_film: bool
    modality: str
    sop_class_uid: str
    received_at: datetime


def held_objects(connection: Connection, calling_ae: str, address: str, *, limit: int) -> list[HeldObject]:
    """What an AE sent from an address, newest first."""
    which = (instance.c.calling_ae == calling_ae, quarantine.c.address == address)
    query = _objects().where(*which).order_by(instance.c.id.desc()).limit(limit)
    return [_object(row) for row in connection.execute(query)]


def held_object(connection: Connection, instance_id: int) -> HeldObject | None:
    """None where it is not in quarantine."""
    row = connection.execute(_objects().where(instance.c.id == instance_id)).one_or_none()
    return _object(row) if row else None


def _objects() -> Select[Any]:
    of_film = ("id", "calling_ae", "is_film", "modality", "sop_class_uid", "received_at")
    held = (quarantine.c.address, quarantine.c.why, quarantine.c.certificate_subject)
    query = select(*(instance.c[name] for name in of_film), *held)
    query = query.join(quarantine, quarantine.c.instance_id == instance.c.id)
    return query.where(instance.c.state == State.QUARANTINED)


def _object(row: Row[Any]) -> HeldObject:
    return HeldObject(**dict(row._mapping) | {"why": Unknown[row.why]})


def amount(connection: Connection) -> tuple[int, int]:
    """Objects in quarantine, and the bytes that they have in the spool."""
    size = func.sum(case((instance.c.in_spool, instance.c.size), else_=0))
    query = select(func.count(), func.coalesce(size, 0))
    query = query.select_from(quarantine).join(instance, quarantine.c.instance_id == instance.c.id)
    objects, held = connection.execute(query.where(instance.c.state == State.QUARANTINED)).one()
    return int(objects), int(held)


def held_of(connection: Connection, titles: Iterable[str]) -> list[str]:
    """Those of these AEs of which something is held."""
    query = select(instance.c.id).join(quarantine, quarantine.c.instance_id == instance.c.id)
    query = query.where(instance.c.state == State.QUARANTINED).limit(1)
    return [title for title in titles if connection.execute(query.where(instance.c.calling_ae == title)).first()]
