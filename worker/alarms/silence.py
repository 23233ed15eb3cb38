"""An AE that normally sends and does not: silent in hours in which it sent films in each of the last weeks.

The silence is moved back by 1, 2, 3 and 4 weeks on the site's clock. Where the AE was known already, and there are two
such weeks at least, it must have sent so many films in each of them. A device that rests at night or on Sundays rested
then too; one that comes and goes had a week in which it did not send. A public holiday on a working day is silent like
a fault, and raises the alarm like one.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from worker.alarms.rules import Condition
from worker.db.tables import instance

RULE = "sender_silent"
WEEKS = 4
"""That are looked back. An AE that is silent for longer is taken as gone."""
LEAST_WEEKS = 2
WEEK = timedelta(weeks=1)


def conditions(connection: Connection, least: int, zone: ZoneInfo, now: datetime) -> Iterator[Condition]:
    """Every AE that is silent against its habit. Queries go by the index on calling_ae, is_film and received_at.

    Args:
        least: films in each of the earlier weeks that make a silence count.
    """
    for calling_ae, first, last in _senders(connection, now):
        if last is None or now - last > WEEKS * WEEK:
            continue
        counts = _earlier(connection, calling_ae, (first, last, now), least, zone)
        if len(counts) >= LEAST_WEEKS:
            since = f"{last.astimezone(zone):%A %Y-%m-%d %H:%M} {zone.key}"
            yield Condition(
                rule=RULE,
                subject=calling_ae,
                value=min(counts),
                threshold=least,
                text=f"{calling_ae} sent no new film since {since}; in the same hours of the weeks before it sent "
                f"{', '.join(map(str, counts))} films",
            )


def gone(connection: Connection, calling_aes: Iterable[str], now: datetime) -> Iterator[tuple[str, str]]:
    """Which of these AEs are taken as gone, each with the text of the end of its alarm."""
    for calling_ae in calling_aes:
        last = connection.execute(
            select(func.max(instance.c.received_at)).where(
                instance.c.calling_ae == calling_ae, instance.c.is_film, instance.c.admitted, ~instance.c.backfilled
            )
        ).scalar_one()
        if last is None or now - last > WEEKS * WEEK:
            yield calling_ae, f"{calling_ae} is still silent; after {WEEKS} weeks it is taken as gone"


def _senders(connection: Connection, now: datetime) -> list[tuple[str, datetime, datetime | None]]:
    """Every AE title there is with its first and last film.

    A few steps in the index for each title: DISTINCT or GROUP BY would read every row.
    """
    title = select(func.min(instance.c.calling_ae).label("title")).cte("titles", recursive=True)
    following = select(func.min(instance.c.calling_ae)).where(instance.c.calling_ae > title.c.title).scalar_subquery()
    titles = title.union_all(select(following).where(title.c.title.is_not(None)))
    first, last = (  # one each: SQLite looks up a single one in the index, and scans for both
        select(edge(instance.c.received_at))
        .where(
            instance.c.calling_ae == titles.c.title,
            instance.c.is_film,
            instance.c.admitted,
            ~instance.c.backfilled,
            instance.c.received_at <= now,
        )
        .scalar_subquery()
        for edge in (func.min, func.max)
    )
    rows = connection.execute(select(titles.c.title, first, last).where(titles.c.title.is_not(None)))
    return [(calling_ae, begun, ended) for calling_ae, begun, ended in rows]


def _earlier(
    connection: Connection, calling_ae: str, known: tuple[datetime, datetime, datetime], least: int, zone: ZoneInfo
) -> list[int]:
    """Films in the same hours one week before, two, ...; empty as soon as a week has too few.

    Args:
        known: first film, last film, now.
    """
    first, start, now = known
    end = min(now, _on_the_clock(start, 1, zone))  # so that no earlier week reaches into the silence
    counts = []
    for weeks in range(1, WEEKS + 1):
        begin, until = (_on_the_clock(moment, -weeks, zone) for moment in (start, end))
        if begin < first:
            break
        number = connection.execute(
            select(func.count()).where(
                instance.c.calling_ae == calling_ae,
                instance.c.is_film,
                instance.c.admitted,
                ~instance.c.backfilled,
                instance.c.received_at > begin,
                instance.c.received_at <= until,
            )
        ).scalar_one()
        if number < least:
            return []
        counts.append(int(number))
    return counts


def _on_the_clock(moment: datetime, weeks: int, zone: ZoneInfo) -> datetime:
    """The same weekday and wall-clock time, weeks later: a change of clocks does not move the working day."""
    return (moment.astimezone(zone) + weeks * WEEK).astimezone(UTC)
