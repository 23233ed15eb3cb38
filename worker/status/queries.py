"""What `xrayq status` reads of the database.

Every query goes by an index or over a table that stays small, so that looking costs the same on a million films; a test
reads SQLite's plans.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from worker.alarms import undelivered
from worker.audit_messages import feed
from worker.backfill import jobs
from worker.backfill.progress import Progress, progress
from worker.db.span import Span
from worker.peers.quarantine import HeldSender, held_senders
from worker.receiving import refusals
from worker.reporting import not_arrived
from worker.states import State
from worker.status.flow import (
    LastHour,
    ShownDeadLetter,
    Waiting,
    films_in,
    last_hour,
    newest_dead_letters,
    waiting_films,
)
from worker.status.senders import SenderToday, TurnedAway, senders_of, turned_away
from worker.status.upkeep import (
    InService,
    NightlyReport,
    OpenAlarm,
    bundles_in_service,
    nightly_report,
    read_open_alarms,
)

JUST_ENDED = timedelta(days=1)
"""Since a backfill ended, for which it is shown."""


@dataclass(frozen=True, kw_only=True)
class DatabaseContent:
    """What the database holds."""

    waiting: Waiting
    senders: tuple[SenderToday, ...]
    """Most films first."""
    films_refused: tuple[TurnedAway, ...]
    """C-STOREs of today that were answered with an error, by AE, most first."""
    not_let_in: tuple[TurnedAway, ...]
    """Associations of today that were rejected, or never asked for, by AE, most first."""
    refused: tuple[refusals.Refused, ...]
    """Presentation contexts of today that were not accepted, by AE, most first."""
    hour: LastHour
    quarantine: tuple[HeldSender, ...]
    """What unknown peers sent and nobody has admitted, oldest first."""
    failed: int
    dead_letters: tuple[ShownDeadLetter, ...]
    """The newest MOST_DEAD_LETTERS, newest first."""
    alarms: tuple[OpenAlarm, ...]
    """Newest first, acknowledged ones last."""
    outages: tuple[undelivered.Outage, ...]
    """Channels on which alarms do not arrive."""
    result_outages: tuple[not_arrived.ResultOutage, ...]
    """Destinations that results do not reach."""
    service: InService
    nightly: NightlyReport
    backfills: tuple[Progress, ...]
    """Those that have not ended, and those that ended within the last day."""
    repository: feed.Standing | None
    """How far the site's audit repository has the trail; None where there is none."""


def read(
    connection: Connection, *, now: datetime, zone: ZoneInfo, default: str, audited: bool = False
) -> DatabaseContent:
    """What the database holds.

    Args:
        default: words for the bundle of the settings.
        audited: whether there is an audit repository.
    """
    today = Span.of_day(now.astimezone(zone).date(), zone)
    return DatabaseContent(
        waiting=waiting_films(connection, now),
        senders=senders_of(connection, today),
        films_refused=turned_away(connection, today, refusals.FILMS),
        not_let_in=turned_away(connection, today, refusals.ASSOCIATIONS),
        refused=refusals.contexts_of(connection, today),
        hour=last_hour(connection, now),
        quarantine=tuple(held_senders(connection)),
        failed=films_in(connection, State.FAILED),
        dead_letters=newest_dead_letters(connection),
        alarms=read_open_alarms(connection),
        outages=undelivered.outages(connection, now),
        result_outages=not_arrived.outages(connection),
        service=bundles_in_service(connection, default),
        nightly=nightly_report(connection),
        backfills=tuple(
            progress(connection, job) for job in jobs.newest(connection) if (job.ended_at or now) > now - JUST_ENDED
        ),
        repository=feed.standing(connection) if audited else None,
    )
