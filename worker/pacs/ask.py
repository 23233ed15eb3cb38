"""Ask PACSs about days, beside the ledger. Whatever a PACS does ends as an answer: no night fails by it."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.contexts import STUDY_ROOT_FIND
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.pseudonyms import digest_key
from worker.db.session import reading, snapshot, time_of, writing
from worker.db.span import Span
from worker.errors import NotAsked, PacsAway
from worker.pacs import keeping, kept
from worker.pacs.comparing import Comparison, compare
from worker.pacs.listing import PacsListing, films_of, opened
from worker.pacs.options import AskedPacs, AskOptions

log = logging.getLogger("xrayq.pacs")

AGAIN_DAYS = 7
"""Days before that are asked for again where the PACS was away, or gave no whole answer."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What came of asking one PACS about one day."""

    pacs: str
    day: date
    comparison: Comparison | None
    fault: str
    """Why there is no comparison, a code; else ""."""
    unreadable: int = 0


def ask_for_night(engine: Engine, day: date, options: AskOptions) -> None:
    """Ask each PACS about the day, and about earlier days on which it was asked in vain; keep what it says.

    A night that is tried again does not ask again for what was answered whole. Raises SQLAlchemyError alone.
    """
    end = Span.of_day(day, options.zone).end
    last = time.monotonic() + options.total_seconds
    for place, pacs in enumerate(options.pacs):
        now = time.monotonic()
        until = now + (last - now) / (len(options.pacs) - place)  # who is quick leaves its time to the others
        with reading(engine) as connection:
            done = kept.is_whole_since(connection, pacs.called_ae, day, end)
            before = kept.unanswered(
                connection, pacs.called_ae, day - timedelta(days=AGAIN_DAYS), day - timedelta(days=1)
            )
        days = [*([] if done else [day]), *reversed(before)]
        for asked in ask(engine, pacs, days, options, until=until):
            keep(engine, asked)


def ask(engine: Engine, pacs: AskedPacs, days: Sequence[date], options: AskOptions, *, until: float) -> Iterator[Asked]:
    """Each day of them, over one association as long as it lasts. Raises SQLAlchemyError alone.

    Args:
        until: of the monotonic clock.
    """
    left = list(days)
    while left:
        try:
            with opened(pacs, options, until=until) as contents:
                if options.queries_on_record:
                    _put_on_record(engine, pacs)
                while left:
                    before = contents.unreadable
                    listing = films_of(contents, left[0], options)
                    yield _compared(engine, pacs, left.pop(0), listing, options, contents.unreadable - before)
            return
        except NotAsked as failed:
            fault, away = str(failed), isinstance(failed, PacsAway)
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a stranger's bytes do, the night goes on
            fault, away = type(error).__name__, False
        log.warning("a PACS was not asked to the end", extra={"called_ae": pacs.called_ae, "reason": fault})
        for day in left if away else left[:1]:
            yield Asked(pacs=pacs.called_ae, day=day, comparison=None, fault=fault)
        left = [] if away else left[1:]


def _put_on_record(engine: Engine, pacs: AskedPacs) -> None:
    """One event for all questions of an association: they differ in the values of their keys alone."""
    destination = f"{'tls:' if pacs.tls else ''}{pacs.called_ae}@{pacs.host}:{pacs.port}"
    keys = {"QueryRetrieveLevel": "STUDY", "StudyDate": "", "ModalitiesInStudy": "", "StudyInstanceUID": ""}
    detail = {"destination": destination, "sop_class": STUDY_ROOT_FIND, "keys": keys}
    with writing(engine) as connection:
        trail.record(connection, action=Action.QUERIED, instance_id=None, actor=Actor.RELAY, detail=detail)


def keep(engine: Engine, asked: Asked) -> None:
    """For the report of the day, and the alarm."""
    now = time_of(engine)
    if asked.comparison is not None:
        keeping.keep(engine, asked.pacs, asked.day, asked.comparison, unreadable=asked.unreadable, now=now)
        return
    with writing(engine) as connection:
        keeping.keep_fault(connection, asked.pacs, asked.day, asked.fault, now)


def _compared(
    engine: Engine, pacs: AskedPacs, day: date, listing: PacsListing, options: AskOptions, unreadable: int
) -> Asked:
    key, now = digest_key(engine), time_of(engine)
    with snapshot(engine) as connection:
        found = compare(
            connection,
            listing.films,
            day=day,
            zone=options.zone,
            now=now,
            settled_minutes=options.settled_minutes,
            key=key,
        )
    return Asked(pacs=pacs.called_ae, day=day, comparison=found, fault="", unreadable=unreadable)
