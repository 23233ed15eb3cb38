"""Celery on Redis: the transport. Messages hold instance ids and claim counts; nothing is counted or kept here."""

from collections.abc import Callable

from celery import Celery
from celery.utils.nodenames import default_nodename
from kombu import Exchange, Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from worker.outbox import Claims, PublishError

SCORE_QUEUE = "xrayq.score"
SCORE_TASK = "xrayq.score"
RESTORE_SECONDS = 2


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
            raise PublishError(type(error).__name__) from None

    return publish


def consume(app: Celery, score: Callable[[Claims], None], *, concurrency: int) -> None:
    """Run a Celery worker until it is told to stop, `concurrency` tasks at once."""

    @app.task(name=SCORE_TASK, max_retries=0)  # type: ignore[untyped-decorator]
    def score_task(pairs: list[list[int]]) -> None:
        score({int(instance_id): int(claims) for instance_id, claims in pairs})

    app.Worker(
        pool="threads",
        concurrency=concurrency,
        loglevel="ERROR",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        optimization="fair",
    ).start()


def ping(app: Celery, timeout: float = 2.0) -> int:
    """How many workers answer."""
    return len(app.control.ping(timeout=timeout) or [])


def ping_here(app: Celery, timeout: float = 5.0) -> bool:
    """Whether the worker on this host answers."""
    return bool(app.control.ping(destination=[default_nodename(None)], timeout=timeout, limit=1))
