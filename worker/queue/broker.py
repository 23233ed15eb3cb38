"""Celery on Redis: the transport. Messages hold instance ids and claim counts; nothing is counted or kept here."""

import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from worker.db import causes
from worker.errors import PublishError, Unhealthy
from worker.queue.outbox import Claims

log = logging.getLogger("xrayq.worker")

SCORE_QUEUE = "xrayq.score"
SCORE_TASK = "xrayq.score"
PROBE_TASK = "xrayq.probe"
PROBE_EXPIRES = 30
"""Seconds after which a probe says nothing any more, and after which an abandoned queue of probes is gone."""
RESTORE_SECONDS = 2


CAUSES: tuple[tuple[str, str], ...] = (
    ("connection refused", "connection refused"),
    ("name or service not known", "no such host"),
    ("temporary failure in name resolution", "the host's name cannot be looked up"),
    ("no such file", "no such socket"),
    ("permission denied", "no permission for its socket"),
    ("username-password pair", "wrong user or password"),
    ("without any password configured", "it has no password, XRAYQ_REDIS_URL has one"),
    ("authentication required", "it wants a password"),
    ("no permissions", "its user may not do this, see its ACL"),
    ("can't run this command", "its user may not do this, see its ACL"),
    ("read only replica", "it is a read-only replica"),
    ("instance state changed", "it became a replica"),
    ("transaction discarded", "it refused a transaction, see its ACL and its memory"),
    ("used memory >", "its memory is full, see maxmemory"),
    ("loading the dataset", "it is still loading its data"),
    ("unable to persist", "it cannot write to its disk, see its stop-writes-on-bgsave-error"),
    ("db index is out of range", "it has no database of that number"),
    ("certificate verify failed", "its certificate is not trusted here"),
    ("ssl", "no TLS with it"),
    ("timed out", "no answer in time"),
    ("timeout", "no answer in time"),
    ("connection closed", "it closed the connection"),
    ("reset by peer", "it closed the connection"),
)
"""What Redis, its client or the system says, in lower case, and what we say: no host, no path, no user's name."""


def cause(error: BaseException) -> str:
    """Why Redis did not do what it was asked for, in words that everybody may read."""
    text = str(error).lower()
    return next((words for part, words in CAUSES if part in text), type(error).__name__)


def address(redis_url: str) -> str:
    """Host, port and database of the URL, or the socket: without user and password."""
    parts = urlsplit(redis_url)
    return parts.path if parts.scheme == "redis+socket" else f"{parts.hostname}:{parts.port or 6379}{parts.path}"


def make_app(redis_url: str, *, visibility_seconds: float) -> Celery:
    """A Celery app. Opens nothing.

    Args:
        redis_url: redis://, rediss:// or redis+socket://.
        visibility_seconds: after this long Redis redelivers a message that nobody acknowledged.
    """
    app = Celery("xrayq", broker=redis_url, set_as_current=False)
    app.conf.update(
        # The anonymous exchange routes by queue name, without the binding table in Redis that a FLUSHALL takes away.
        task_queues=[Queue(SCORE_QUEUE, Exchange(""), routing_key=SCORE_QUEUE)],
        task_default_queue=SCORE_QUEUE,
        task_default_exchange="",
        task_default_routing_key=SCORE_QUEUE,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": visibility_seconds,
            "unacked_restore_interval": RESTORE_SECONDS,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "health_check_interval": 10,
        },
    )
    return app


def publisher(app: Celery) -> Callable[[Claims], None]:
    """A function that sends one score message. It raises PublishError when the broker is away."""

    def publish(claims: Claims) -> None:
        try:
            app.send_task(SCORE_TASK, args=[list(claims.items())], queue=SCORE_QUEUE, retry=False, ignore_result=True)
        except (KombuError, RedisError, OSError) as error:
            raise PublishError(cause(error)) from None

    return publish


def add_probe_queue(app: Celery) -> str:
    """Give this app a queue of its own for probes, consumed like the score queue. Returns its name.

    Its messages are not acknowledged: one that a dying worker held would come back, with nobody to take it.
    """
    name = f"{PROBE_TASK}.{secrets.token_hex(6)}"
    own = Queue(name, Exchange(""), routing_key=name, no_ack=True)
    app.conf.task_queues = [*app.conf.task_queues, own]
    return name


def prober(app: Celery, name: str) -> Callable[[], None]:
    """A function that sends one probe message. It raises PublishError when the broker is away."""

    def probe() -> None:
        try:
            with app.producer_pool.acquire(block=True, timeout=PROBE_EXPIRES) as producer:
                app.send_task(
                    PROBE_TASK, queue=name, expires=PROBE_EXPIRES, producer=producer, retry=False, ignore_result=True
                )
                producer.channel.client.expire(name, PROBE_EXPIRES)
        except (KombuError, RedisError, OSError) as error:
            raise PublishError(cause(error)) from None

    return probe


def consume(
    app: Celery, score: Callable[[Claims], None], *, concurrency: int, seen: Callable[[], None] = lambda: None
) -> None:
    """Run a Celery worker until it is told to stop, `concurrency` tasks at once.

    It waits for a Redis that is away or wants another password. Where Redis answers and turns it away, as a read-only
    replica does, Celery gives up (its issue 7946).

    Args:
        seen: called when a probe message is executed, while the score queue is consumed too.

    Raises:
        Unhealthy: Celery gave up. Whoever started this process starts it anew.
    """
    turned_away: list[Exception] = []

    @app.task(name=SCORE_TASK, max_retries=0)  # type: ignore[untyped-decorator]
    def score_task(pairs: list[list[int]]) -> None:
        try:
            score({int(instance_id): int(claims) for instance_id, claims in pairs})
        except Exception as error:  # noqa: BLE001 - the task's edge: Celery would log its text, which may hold a row
            reason = causes.cause(error) if isinstance(error, SQLAlchemyError) else type(error).__name__
            log.error("score task failed", extra={"reason": reason})

    @app.task(name=PROBE_TASK, max_retries=0, Request=_unacknowledged())  # type: ignore[untyped-decorator]
    def probe_task() -> None:
        consumer = worker.consumer.task_consumer
        if consumer and consumer.consuming_from(SCORE_QUEUE):
            seen()

    worker = app.Worker(
        pool="threads",
        concurrency=concurrency,
        consumer_cls=_eager_consumer(turned_away),
        loglevel="ERROR",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        optimization="fair",
    )
    worker.start()
    if turned_away:
        raise Unhealthy(f"Redis turned this worker away: {cause(turned_away[-1])}")
    if worker.exitcode:
        raise Unhealthy("Celery gave up, its own line above says why")


def _unacknowledged() -> type:
    """A Celery request of a queue without acknowledgements: kombu would keep a number of each that it is given."""
    from celery.worker.request import Request

    class Unacknowledged(Request):  # type: ignore[misc]
        def acknowledge(self) -> None:
            self.acknowledged = True

    return Unacknowledged


def _eager_consumer(turned_away: list[Exception]) -> type:
    """Celery's consumer, that looks for a lost broker every two seconds; its own pauses grow to thirty.

    Args:
        turned_away: gets the error that ended it.
    """
    from celery.worker.consumer import Consumer  # a relay does without

    class EagerConsumer(Consumer):  # type: ignore[misc]
        def ensure_connected(self, connection: Any) -> Any:
            connection.ensure_connection = partial(connection.ensure_connection, interval_step=0)
            return super().ensure_connected(connection)

        def start(self) -> None:
            try:
                super().start()
            except (RedisError, KombuError, OSError) as error:
                turned_away.append(error)
                raise SystemExit(Unhealthy.exit_code) from None  # which Celery takes for an end, without a traceback

    return EagerConsumer


def answers(app: Celery) -> None:
    """Raises PublishError when the broker does not answer within some seconds."""
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
            connection.default_channel.client.ping()
    except (KombuError, RedisError, OSError) as error:
        raise PublishError(cause(error)) from None


def ping(app: Celery, timeout: float = 2.0) -> int:
    """How many workers answer. Raises PublishError when the broker does not."""
    try:
        return len(app.control.ping(timeout=timeout) or [])
    except (KombuError, RedisError, OSError) as error:
        raise PublishError(cause(error)) from None
