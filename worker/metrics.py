"""What each process counts, for Prometheus. One registry for each role, made by whoever starts the process.

No label holds a word from a data set; AE titles come from strangers, so only so many become labels.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from dicom_gateway.errors import BadCertificate, NoSpace, in_hexadecimal
from dicom_gateway.observer import Observer
from dicom_gateway.spool import Spool, free_bytes
from dicom_gateway.tls import days_left
from worker import logs
from worker.bounded import Bounded
from worker.states import State

if TYPE_CHECKING:  # the gateway needs neither
    from model.engine.base import Engine
    from model.scorer import Score

MOST_TITLES = 200
"""AE titles that get a label of their own: the first of which a film is kept."""
OTHER = "(other AE titles)"
"""Longer than the 16 characters of an AE title, so none is called so."""
ACCEPTED = "accepted"

FAST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
DECODE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BATCH_FILMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TENTHS = tuple(step / 10 for step in range(1, 11))


def make_registry(role: str) -> CollectorRegistry:
    """A registry that says which release of xrayq this is."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # of the process: a second series for each counter
    registry = CollectorRegistry()
    Info("xrayq", "Release of xrayq.", registry=registry).info({"version": version("xrayq"), "role": role})
    registry.register(LostLines())
    return registry


class LostLines(Collector):
    """What the log lost, looked up at each scrape."""

    def describe(self) -> list[CounterMetricFamily]:
        return [CounterMetricFamily("xrayq_log_lines_dropped_total", "Log lines lost: nobody took them.")]

    def collect(self) -> list[CounterMetricFamily]:
        (family,) = self.describe()
        family.add_metric([], logs.lost())
        return [family]


class Titles:
    """AE titles as label values, bounded. Safe from several threads: one title too many does no harm."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """
        Args:
            known: titles of our own configuration, which no stranger can push out.
        """
        self._known = set(known)
        self._most = MOST_TITLES + len(self._known)

    def if_known(self, title: str) -> str:
        """The title itself where it is known."""
        return title if title in self._known else OTHER

    def add(self, title: str) -> None:
        """Of a title of which a film is kept; without effect once there are MOST_TITLES of them."""
        if len(self._known) < self._most:
            self._known.add(title)


class GatewayMetrics(Observer):
    """What associations do. Our own C-ECHO, under `own_title`, is not counted."""

    def __init__(self, *, own_title: str, calling_aes: Iterable[str] = ()) -> None:
        self.registry = make_registry("gateway")
        self._own_title = own_title
        self._titles = Titles(calling_aes)
        self._stores = Counter(
            "xrayq_c_stores_total",
            "C-STOREs answered; what a backfill fetches by C-GET is none of them.",
            ["calling_ae", "status"],
            registry=self.registry,
        )
        self._bytes = Counter(
            "xrayq_received_bytes_total",
            "Data sets of answered C-STOREs, refused ones too.",
            ["calling_ae"],
            registry=self.registry,
        )
        self._other_objects = Counter(
            "xrayq_other_objects_total",
            "Objects received that can never be a film.",
            ["calling_ae"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "xrayq_c_store_response_seconds",
            "From the last byte of a film to its C-STORE-RSP.",
            buckets=FAST_SECONDS,
            registry=self.registry,
        )
        self._associations = Counter(
            "xrayq_associations_total",
            "accepted; rejected_ and why; aborted: ended without release, by whichever side.",
            ["calling_ae", "outcome"],
            registry=self.registry,
        )
        self._contexts = Counter(
            "xrayq_contexts_refused_total",
            "Presentation contexts not accepted, once for each association and SOP class; used: a C-STORE came on one.",
            ["calling_ae", "reason"],
            registry=self.registry,
        )

        self._asked = Counter(
            "xrayq_commitment_requests_total",
            "Requests for our storage commitment answered.",
            ["calling_ae", "status"],
            registry=self.registry,
        )
        self._unknown = Counter(
            "xrayq_unknown_peers_total",
            "Associations and web requests of peers that are not in the table of peers, or not as they came, by what "
            "became of them.",
            ["why", "entry"],
            registry=self.registry,
        )
        self._slowed_seconds = Counter(
            "xrayq_slowed_seconds_total",
            "Waits of answers to C-STOREs of an AE that sends faster than its row in the table of peers allows.",
            ["calling_ae"],
            registry=self.registry,
        )

    def watch(self, *, established: Callable[[], int], spool: Spool) -> None:
        """Gauges that are looked up at each scrape."""
        free = Bounded(lambda: free_bytes(spool.root), patience=1.0, fresh=5.0)  # a network file system may hang
        _gauge(self.registry, "xrayq_associations_open", "Associations now.", established)
        _gauge(self.registry, "xrayq_spool_free_bytes", "Free space of the spool's file system.", lambda: _asked(free))
        _gauge(
            self.registry,
            "xrayq_spool_reserve_bytes",
            f"Free space below which C-STORE is answered with {in_hexadecimal(NoSpace.status)}.",
            lambda: spool.reserve_bytes,
        )

    def watch_certificate(self, certificate: Path) -> None:
        _gauge(
            self.registry,
            "xrayq_certificate_expires_seconds",
            "Until the TLS certificate expires; below 0 it has, NaN: it cannot be read.",
            lambda: _seconds_left(certificate),
        )

    def accepted(self, calling_ae: str) -> None:
        self._count(calling_ae, ACCEPTED)

    def unknown(self, calling_ae: str, why: str, entry: str) -> None:  # noqa: ARG002 - the log names it
        self._unknown.labels(why.lower(), entry).inc()

    def slowed(self, calling_ae: str, seconds: float) -> None:
        self._slowed_seconds.labels(self._titles.if_known(calling_ae)).inc(seconds)

    def rejected(self, calling_ae: str, reason: str, address: str = "") -> None:  # noqa: ARG002
        self._count(calling_ae, f"rejected_{reason.lower()}")

    def context_refused(self, calling_ae: str, sop_class: str, reason: str) -> None:  # noqa: ARG002 - the log names it
        if calling_ae != self._own_title:
            self._contexts.labels(self._titles.if_known(calling_ae), reason).inc()

    def aborted(self, calling_ae: str) -> None:
        self._count(calling_ae, "aborted")

    def kept(self, calling_ae: str) -> None:
        self._titles.add(calling_ae)

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:
        label = self._titles.if_known(calling_ae)
        self._stores.labels(label, in_hexadecimal(status)).inc()
        self._bytes.labels(label).inc(size)
        self._seconds.observe(seconds)

    def label_of(self, calling_ae: str) -> str:
        return self._titles.if_known(calling_ae)

    def asked_to_commit(self, calling_ae: str, status: int) -> None:
        self._asked.labels(self._titles.if_known(calling_ae), in_hexadecimal(status)).inc()

    def other_object(self, calling_ae: str) -> None:
        """One was committed."""
        self._other_objects.labels(self._titles.if_known(calling_ae)).inc()

    def _count(self, calling_ae: str, outcome: str) -> None:
        if calling_ae != self._own_title:
            self._associations.labels(self._titles.if_known(calling_ae), outcome).inc()


class PushMetrics(Observer):
    """What comes by web. In the gateway's registry: it is one process."""

    def __init__(self, gateway: GatewayMetrics) -> None:
        self._gateway = gateway
        self._instances = Counter(
            "xrayq_stow_instances_total",
            "Instances pushed by web, by the status each was answered with.",
            ["calling_ae", "status"],
            registry=gateway.registry,
        )
        self._bytes = Counter(
            "xrayq_stow_bytes_total",
            "Data sets of these instances, refused ones too.",
            ["calling_ae"],
            registry=gateway.registry,
        )
        self._requests = Counter(
            "xrayq_stow_requests_total",
            "Requests answered, by HTTP status.",
            ["calling_ae", "status"],
            registry=gateway.registry,
        )

    def unknown(self, calling_ae: str, why: str, entry: str) -> None:
        self._gateway.unknown(calling_ae, why, entry)

    def kept(self, calling_ae: str) -> None:
        self._gateway.kept(calling_ae)

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:  # noqa: ARG002
        label = self._gateway.label_of(calling_ae)
        self._instances.labels(label, in_hexadecimal(status)).inc()
        self._bytes.labels(label).inc(size)

    def answered(self, calling_ae: str, status: int) -> None:
        """Args: status: of HTTP; calling_ae: "" where nobody was admitted."""
        self._requests.labels(self._gateway.label_of(calling_ae) if calling_ae else "", str(status)).inc()


class RelayMetrics:
    """What was published. The outbox itself is looked up at each scrape, see `worker.health.outbox_metrics`."""

    def __init__(self) -> None:
        self.registry = make_registry("relay")
        self._messages = Counter("xrayq_published_messages_total", "Messages given to Redis.", registry=self.registry)
        self._films = Counter(
            "xrayq_published_films_total", "Films in them; more than once when a lease passed.", registry=self.registry
        )

    def published(self, films: int) -> None:
        self._messages.inc()
        self._films.inc(films)


class WorkerMetrics:
    """What a worker does with films. Every method may be called from several threads."""

    def __init__(self, reasons: Mapping[State, Iterable[str]] = MappingProxyType({})) -> None:
        """
        Args:
            reasons: that are counted from 0 on, by outcome: a counter that appears at 1 never rose, for Prometheus.
        """
        self.registry = make_registry("worker")
        self._batch = Histogram(
            "xrayq_batch_films", "Films that a message brought.", buckets=BATCH_FILMS, registry=self.registry
        )
        self.decode_seconds = Histogram(
            "xrayq_decode_seconds", "One film, in its decoder.", buckets=DECODE_SECONDS, registry=self.registry
        )
        self.inference_seconds = Histogram(
            "xrayq_inference_seconds",
            "The network and its calibration, for the films it takes at once.",
            buckets=FAST_SECONDS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "xrayq_commit_seconds", "A batch's transaction.", buckets=FAST_SECONDS, registry=self.registry
        )
        self._films = Counter(
            "xrayq_films_total",
            "Films that came to an end: scored, ineligible or failed.",
            ["outcome", "reason"],
            registry=self.registry,
        )
        for outcome, names in reasons.items():
            for name in names:
                self._films.labels(outcome, name)
        self._probabilities = Histogram(
            "xrayq_score_probability",
            "Calibrated probabilities of the live bundle; their count is the number of scores.",
            ["finding"],
            buckets=TENTHS,
            registry=self.registry,
        )
        self._flags = Counter("xrayq_flags_total", "Films flagged.", ["finding"], registry=self.registry)
        self._unsure = Counter(
            "xrayq_unsure_total", "Films whose prediction set is not exactly one finding.", registry=self.registry
        )
        self._postponed = Counter(
            "xrayq_postponed_batches_total",
            "Batches given back, for no fault of their films.",
            ["reason"],
            registry=self.registry,
        )
        self._engine = Gauge(
            "xrayq_engine_info",
            "1 for the live bundle and what runs it.",
            ["engine", "bundle", "bundle_version"],
            registry=self.registry,
        )
        self._in_use: tuple[str, ...] = ()

    def watch(self, silence: Callable[[], float | None]) -> None:
        """Args: silence: seconds since it last consumed, None when never."""
        _gauge(
            self.registry,
            "xrayq_since_consumed_seconds",
            "Since this worker last consumed a message, be it a probe; 0 while all its threads score; NaN at first.",
            lambda: _or_nan(silence()),
        )

    def began(self, films: int) -> None:
        self._batch.observe(films)

    def serves(self, engine: "Engine", *, bundle: str, bundle_version: str) -> None:
        """Args: bundle: its digest."""
        in_use = (engine.spec.name, bundle[:12], bundle_version)
        if in_use != self._in_use:
            self._engine.clear()
            self._engine.labels(*in_use).set(1)
            self._in_use = in_use

    def ended(self, state: State, reason: str | None, score: "Score | None") -> None:
        """Called for each film after its end is committed."""
        self._films.labels(state, reason or "").inc()
        if score:
            for finding, probability in score.probabilities.items():
                self._probabilities.labels(finding).observe(probability)
                self._flags.labels(finding).inc(finding in score.flags)
            self._unsure.inc(score.unsure)

    def postponed(self, reason: str) -> None:
        self._postponed.labels(reason).inc()


def _gauge(registry: CollectorRegistry, name: str, meaning: str, value: Callable[[], float]) -> None:
    Gauge(name, meaning, registry=registry).set_function(value)


def _seconds_left(certificate: Path) -> float:
    try:
        return days_left(certificate) * 86400
    except BadCertificate:
        return math.nan


def _asked(question: Callable[[], float]) -> float:
    try:
        return question()
    except OSError:  # a TimeoutError is one
        return float("nan")


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
