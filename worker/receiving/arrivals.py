"""What arrives becomes a row of the ledger, a film and what is none alike: races for one UID, and the file beside."""

import logging
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, false, func, or_, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.options import Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import Connected
from dicom_gateway.spool import drop, promising
from worker.db.causes import cause
from worker.db.errors import CommitUnknown
from worker.db.session import limited, reading
from worker.db.tables import instance, quarantine

log = logging.getLogger("xrayq.ingest")

RACES = 30
PAUSE = 0.02
"""Longest wait after the first lost race, seconds; after the second twice that."""


class ArrivalKind(StrEnum):
    NEW = "received"
    DUPLICATE = "duplicate"
    REVISION = "revision"


Became = tuple[ArrivalKind, int]
"""What it was, and the instance's id."""


def settle(engine: Engine, arrived: Received | OtherObject, commit: Callable[[], Became | None]) -> Became:
    """Commit what arrived. Its file leaves the spool where nothing was committed, and where the database has another.

    Args:
        commit: one try; None where another association was faster, so that it must look again.

    Raises:
        StoreUnavailable: the database did not take it, or did not say so in time.
    """
    removable = arrived.fresh
    with limited(engine):
        try:
            with promising(arrived.path) if arrived.path else nullcontext():
                outcome, instance_id = _raced(commit)
            removable = outcome is ArrivalKind.DUPLICATE  # a row names the film that is kept
        except SQLAlchemyError as error:
            # After CommitUnknown the commit may still be on its way, and nobody sees it yet: the file stays.
            removable = removable and not isinstance(error, CommitUnknown)
            log.error("database refused an instance", extra={"reason": cause(error)})
            raise StoreUnavailable from None
        finally:
            if removable:
                let_go(engine, arrived)
    return outcome, instance_id


def let_go(engine: Engine, arrived: Received | OtherObject) -> None:
    """The file of what was refused leaves the spool, unless the database has it."""
    if arrived.path:
        drop(arrived.path, unless=lambda: _named(engine, arrived))


def newest(connection: Connection, uid: str, *, is_film: bool, unknown: Connected | None) -> Any:
    """Id, revision, digest and study of the newest revision of a film, or of what is none, under a UID; else None.

    Args:
        unknown: who asks, where that is an unknown peer; None for a known one. What other unknown peers sent is left
            out: it may never be admitted, and stands in nobody's way.
    """
    own: ColumnElement[bool] = false()
    if unknown:
        held = select(quarantine.c.instance_id).where(quarantine.c.address == unknown.address[:64])
        own = and_(instance.c.calling_ae == unknown.calling_ae, instance.c.id.in_(held))
    which = (instance.c.sop_instance_uid == uid, instance.c.is_film.is_(is_film), or_(instance.c.admitted, own))
    return connection.execute(
        select(instance.c.id, instance.c.revision, instance.c.digest, instance.c.study_instance_uid)
        .where(*which)
        .order_by(instance.c.revision.desc())
        .limit(1)
    ).one_or_none()


def next_revision(connection: Connection, uid: str) -> int:
    """Of all that came under a UID, whatever it is. Ask before `newest`, or a film between the two is overlooked."""
    last = select(func.max(instance.c.revision)).where(instance.c.sop_instance_uid == uid)
    return (connection.execute(last).scalar_one() or 0) + 1


def whence(arrived: Received | OtherObject) -> dict[str, str]:
    """The address that it came from, for the audit trail; nothing for a file of this machine."""
    return {"peer": arrived.sent_by.address} if arrived.sent_by else {}


def _raced(commit: Callable[[], Became | None]) -> Became:
    for race in range(RACES):
        time.sleep(random.uniform(0, race * PAUSE))
        try:
            if became := commit():
                return became
        except IntegrityError:
            continue  # another association committed the same UID between our look and our insert: look again
    log.error("database refused an instance", extra={"reason": f"{RACES} races for one UID"})
    raise StoreUnavailable


def _named(engine: Engine, arrived: Received | OtherObject) -> bool:
    """Whether an instance has this file, or the database does not say. Asked by the UID, which has an index."""
    query = select(instance.c.id).where(
        instance.c.sop_instance_uid == _uid(arrived), instance.c.digest == arrived.digest
    )
    try:
        with reading(engine) as connection:
            return connection.execute(query.limit(1)).first() is not None
    except SQLAlchemyError:
        return True


def _uid(arrived: Received | OtherObject) -> str:
    return arrived.header.sop_instance_uid if isinstance(arrived, Received) else arrived.sop_instance_uid
