"""The outbox as Prometheus sees it: read from the database at each scrape, and never an error page."""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import inf

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from worker.alarms.rules import RULES
from worker.audit_messages import feed
from worker.backfill.progress import totals
from worker.bounded import Bounded
from worker.db.session import database_time, snapshot
from worker.db.tables import alarm, errand, instance, outbox, quarantine
from worker.errors import Unhealthy
from worker.health.probes import require_file
from worker.queue.errands import Kind
from worker.queue.outbox import ahead
from worker.receiving import waiting
from worker.states import State

PATIENCE, FRESH = 4.0, 5.0
"""Seconds that a scrape waits for the database, and for which what it said is said again."""

GaugeValues = dict[tuple[str, ...], float]
"""By label values."""

FAMILIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("xrayq_outbox_films", "Films that wait for a worker, or are in work (leased to one).", ("state",)),
    (
        "xrayq_oldest_waiting_film_seconds",
        "Age of the oldest film that has not come to an end, since it came, was requeued or admitted, without those of "
        "backfills; 0: none, +Inf: one came in the future.",
        (),
    ),
    (
        "xrayq_errands",
        "What waits beside films: the night's report (night), mails, webhook calls, results, reports of "
        "storage commitment, and results given up.",
        ("kind",),
    ),
    (
        "xrayq_backfill_films",
        "Films of backfills that have not ended: wanted, asked for, quarantined, here or failed; and unscored, of all.",
        ("state",),
    ),
    ("xrayq_backfills_resting", "Backfills that have not ended and ask for nothing now.", ()),
    ("xrayq_quarantined_objects", "What unknown peers sent and nobody has admitted: not scored.", ()),
    ("xrayq_dead_letters", "Instances in state failed.", ()),
    (
        "xrayq_audit_repository_behind_seconds",
        "Age of the oldest audit event that the site's audit repository does not have; 0: none waits.",
        (),
    ),
    ("xrayq_audit_repository_failures", "Attempts in a row to send audit messages that failed.", ()),
    ("xrayq_alarms_open", "Alarms raised, and neither cleared nor acknowledged.", ("rule",)),
    ("xrayq_alarms_acknowledged", "Alarms not cleared that somebody has acknowledged.", ("rule",)),
)


class OutboxCollector(Collector):
    """`xrayq_database_up`, and where it is 1 everything of FAMILIES."""

    def __init__(self, database: Engine, *, audited: bool = False) -> None:
        self._read = Bounded(lambda: _read(database, audited), patience=PATIENCE, fresh=FRESH)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            read = self._read()
        except (SQLAlchemyError, Unhealthy, TimeoutError):
            yield _up(0)
            return
        yield _up(1)
        for (name, meaning, labels), values in zip(FAMILIES, read, strict=True):
            family = GaugeMetricFamily(name, meaning, labels=labels)
            for label_values, value in values.items():
                family.add_metric(label_values, value)
            yield family

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """So that registering asks no database."""
        yield _up(0)
        for name, meaning, labels in FAMILIES:
            yield GaugeMetricFamily(name, meaning, labels=labels)


def register(registry: CollectorRegistry, database: Engine, *, audited: bool = False) -> None:
    """Args: audited: whether there is an audit repository."""
    registry.register(OutboxCollector(database, audited=audited))


def _up(value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "xrayq_database_up", "Whether the database answers; while not, what is read from it is missing.", value
    )


def _read(database: Engine, audited: bool) -> tuple[GaugeValues, ...]:
    """What FAMILIES name, in their order."""
    require_file(database)
    with snapshot(database, long=False) as connection:
        now = database_time(connection)
        films, leased = connection.execute(
            select(func.count(), func.count(outbox.c.id).filter(outbox.c.lease_until > now)).select_from(outbox)
        ).one()
        oldest = waiting.oldest(connection)
        unknown = ahead(connection, now) > 0
        held = connection.execute(select(func.count()).select_from(quarantine)).scalar_one()
        failed = connection.execute(select(func.count()).where(instance.c.state == State.FAILED)).scalar_one()
        errands = Counter(connection.execute(select(errand.c.kind)).scalars())
        standing = select(alarm.c.rule, alarm.c.acknowledged.is_not(None)).where(alarm.c.cleared_at.is_(None))
        alarms = connection.execute(standing).all()
        repository = feed.standing(connection) if audited else None
        backfills = totals(connection)
    return (
        {("waiting",): films - leased, ("leased",): leased},
        {(): inf if unknown else max(0.0, (now - oldest).total_seconds()) if oldest else 0.0},
        _each((kind.value for kind in Kind), errands),
        {(state,): number for state, number in backfills.films.items()},
        {(): backfills.resting},
        {(): held},
        {(): failed},
        {(): repository.behind_seconds(now) if repository else 0.0},
        {(): float(repository.failures) if repository else 0.0},
        _each((rule.id for rule in RULES), Counter(rule for rule, known in alarms if not known)),
        _each((rule.id for rule in RULES), Counter(rule for rule, known in alarms if known)),
    )


def _each(names: Iterable[str], counted: "Counter[str]") -> GaugeValues:
    """Those that are none are 0, not missing: a rate or an alert needs the line."""
    return {(name,): counted[name] for name in (*names, *sorted(counted))}
