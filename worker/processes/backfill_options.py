"""What backfills need of the settings. What comes by C-GET is taken in the relay as the gateway takes what is sent."""

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

    from sqlalchemy import Engine

    from dicom_gateway.options import Received
    from dicom_gateway.other_objects import OtherObject
    from worker.backfill.options import BackfillOptions
    from worker.backfill.turn import Backfilling
    from worker.receiving.refusals import Refusals
    from worker.settings import Settings

SPOOL_SECONDS = 5.0
"""For which a network file system may hang."""


def backfill_options(settings: "Settings") -> "BackfillOptions | None":
    """None where XRAYQ_ASK_PACS names no PACS."""
    from dicom_gateway.spool import MEBIBYTE
    from worker.backfill.options import BackfillOptions
    from worker.processes.ask_options import ask_options

    ask = ask_options(settings)
    if ask is None:
        return None
    return BackfillOptions(
        ask=ask,
        reserve_bytes=max(settings.spool_reserve_mib, settings.alarm_spool_mib) * MEBIBYTE,
        live_films=settings.backfill_live_films,
    )


def refusals_of_relay(settings: "Settings") -> "Refusals":
    """What comes over our associations and is refused: counted and kept by UID as the gateway does."""
    from worker.receiving.refusals import Refusals

    options = backfill_options(settings)
    return Refusals(known=[pacs.called_ae for pacs in options.ask.pacs] if options else ())


def backfilling(settings: "Settings", database: "Engine", stop: "Event", refused: "Refusals") -> "list[Backfilling]":
    """One for each PACS of XRAYQ_ASK_PACS.

    Args:
        refused: is told of each C-STORE that is refused; the caller writes it.
    """
    from dicom_gateway.spool import free_bytes
    from dicom_gateway.storing import Storing
    from worker.backfill.association import Retrieving
    from worker.backfill.turn import Backfilling
    from worker.bounded import Bounded
    from worker.processes.parts import comparing, open_spool
    from worker.receiving import other_objects
    from worker.receiving.ingest import ingest

    options = backfill_options(settings)
    if options is None:
        return []
    spool, pictures = open_spool(settings), comparing(settings)
    quiet = timedelta(seconds=settings.study_seconds)

    def accept(arrived: "Received | OtherObject") -> None:
        """We asked for it, so that nobody has to admit its sender."""
        from dicom_gateway.options import Received

        if isinstance(arrived, Received):
            ingest(database, spool, arrived, pictures.same_picture, quiet=quiet, fetched=True)
        else:
            other_objects.record(database, arrived, quiet=quiet)

    def free_space() -> int | None:
        try:
            return free_bytes(settings.spool_folder)
        except OSError:  # no spool on this machine: the gateway's own reserve holds
            return None

    bounded = Bounded(free_space, patience=SPOOL_SECONDS, fresh=0.0)

    def free() -> int | None:
        try:
            return bounded()
        except TimeoutError:
            return 0  # nothing can be written there now

    storing = Storing(spool=spool, accept=accept, observer=refused, keep_other_objects=settings.keep_other_objects)
    retrieving = Retrieving(options=options, storing=storing)
    return [
        Backfilling(database=database, pacs=pacs.called_ae, retrieving=retrieving, free=free, stop=stop)
        for pacs in options.ask.pacs
    ]
