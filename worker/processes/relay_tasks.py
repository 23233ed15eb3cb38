"""What the relay does beside publishing, made from the settings."""

from functools import partial
from typing import TYPE_CHECKING

from worker.queue.periodic import Periodic

if TYPE_CHECKING:
    from threading import Event

    from sqlalchemy import Engine

    from worker.receiving.refusals import Refusals
    from worker.settings import Settings

NIGHT_SECONDS = 10.0
DELIVERY_SECONDS = 2.0
REKEY_SECONDS = 3600.0
STUDY_SECONDS = 5.0
ADOPT_SECONDS = 3600.0
AUDIT_SECONDS = 5.0
BACKFILL_SECONDS = 1.0
UNNAMED_SECONDS = 60.0
SPOOL_SECONDS = 5.0  # for which a network file system may hang


def tasks(settings: "Settings", database: "Engine", stop: "Event", refused: "Refusals") -> list[Periodic]:
    """
    Args:
        refused: of what comes over our associations; who stops the relay writes the last of it.
    """
    from worker.db.pseudonyms import rekey

    # Again and again: a gateway of the release before may run beside this relay.
    digests = Periodic(name="digests", seconds=REKEY_SECONDS, run=partial(rekey, database))
    return [
        *_night(settings, database),
        *_alarms(settings, database),
        *_studies(database),
        *_audit(settings, database),
        *_backfills(settings, database, stop, refused),
        digests,
    ]


def _studies(database: "Engine") -> list[Periodic]:
    """Studies that are complete; and now and then those of a gateway of the release before, which opened none."""
    from worker.studies.adopting import adopt
    from worker.studies.closing import close_due

    return [
        Periodic(name="studies", seconds=STUDY_SECONDS, run=partial(close_due, database)),
        Periodic(name="studies of the release before", seconds=ADOPT_SECONDS, run=partial(adopt, database)),
    ]


def _audit(settings: "Settings", database: "Engine") -> list[Periodic]:
    """Audit messages for the site's repository."""
    from worker.audit_messages.feed import send_due
    from worker.processes.audit_options import feed_options, repository

    to = repository(settings)
    if to is None:
        return []
    run = partial(send_due, database, to, feed_options(settings))
    return [Periodic(name="audit messages", seconds=AUDIT_SECONDS, run=run)]


def _backfills(settings: "Settings", database: "Engine", stop: "Event", refused: "Refusals") -> list[Periodic]:
    """One for each PACS, so that one that hangs delays no other."""
    from worker.backfill import jobs
    from worker.backfill.resting import NOT_NAMED
    from worker.processes.backfill_options import backfilling
    from worker.receiving import refusals

    each = backfilling(settings, database, stop, refused)
    lost = partial(jobs.rest_unnamed, database, {one.pacs for one in each}, NOT_NAMED)
    return [
        Periodic(name="backfills at work", seconds=jobs.MARKED.total_seconds(), run=partial(jobs.mark, database)),
        Periodic(name="backfills of no PACS", seconds=UNNAMED_SECONDS, run=lost),
        Periodic(name="refusals", seconds=refusals.SECONDS, run=partial(refused.write, database)),
        *(Periodic(name=f"backfill of {one.pacs}", seconds=BACKFILL_SECONDS, run=one.turn) for one in each),
    ]


def _alarms(settings: "Settings", database: "Engine") -> list[Periodic]:
    """One that looks at the rules, and one for each channel, so that a mail server that hangs delays no webhook."""
    from worker.alarms import database_rule, live_rules
    from worker.alarms.deliver import DeliveryOptions, deliver_due, not_configured
    from worker.bounded import Bounded
    from worker.db.session import time_of
    from worker.health import probes
    from worker.processes.alarm_options import channels, limits
    from worker.queue.errands import Kind

    sends = channels(settings)
    options = DeliveryOptions(attempts=settings.delivery_attempts)
    free = Bounded(partial(live_rules.spool_free_mib, settings.spool_folder), patience=SPOOL_SECONDS, fresh=0.0)
    rules = limits(settings, time_of(database))

    def look() -> None:
        probes.database(database)
        live_rules.watch(database, rules, tuple(sends), free)

    return [
        Periodic(
            name="alarms",
            seconds=settings.alarm_seconds,
            run=database_rule.DatabaseWatch(look, sends, rules.host),
        ),
        *(
            Periodic(
                name=f"alarms by {kind}",
                seconds=DELIVERY_SECONDS,
                run=partial(deliver_due, database, kind, sends.get(kind, not_configured), options),
            )
            for kind in (Kind.MAIL, Kind.WEBHOOK)
        ),
    ]


def _night(settings: "Settings", database: "Engine") -> list[Periodic]:
    """The report of each day."""
    import logging

    from worker.db.session import time_of
    from worker.nightly import drawing, schedule
    from worker.nightly import run as nightly
    from worker.processes.night_options import night_plan

    if not settings.report_time:
        return []
    plan, fault = night_plan(settings), drawing.fault()
    if fault:  # the days are named all the same, so that the alarm for a late report is raised
        logging.getLogger("xrayq.relay").error(f"no nightly report: {drawing.advice(fault)}")

    def run() -> None:
        schedule.ensure_scheduled(database, plan, time_of(database))
        if not fault:
            nightly.make_due_report(database, plan, time_of(database))

    return [Periodic(name="night", seconds=NIGHT_SECONDS, run=run)]
