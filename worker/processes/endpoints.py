"""The endpoints of gateway, relay and worker, put together from the settings."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery
    from prometheus_client import CollectorRegistry
    from sqlalchemy import Engine

    from dicom_gateway.scp import Gateway
    from dicom_gateway.spool import Spool
    from worker.health.client import ProcessAddress
    from worker.health.probes import Look, Turns
    from worker.health.pulse import Pulse
    from worker.http_push.server import PushServer
    from worker.metrics import GatewayMetrics, RelayMetrics, WorkerMetrics
    from worker.queue.outbox import Claims
    from worker.settings import Settings

ALIVE_SECONDS, READY_SECONDS = 60.0, 30.0
"""Within these a loop must have turned, to be alive, and turned well, to be ready."""


def gateway(
    settings: "Settings",
    metrics: "GatewayMetrics",
    server: "Gateway",
    database: "Engine",
    spool: "Spool",
    title: str,
    push: "PushServer | None" = None,
) -> None:
    """
    Args:
        title: the calling AE title of our own C-ECHO.
        push: None where nothing is taken by web.
    """
    from worker.errors import Unhealthy
    from worker.health import probes
    from worker.processes.tls_options import serves_tls, tls_to_ourselves

    def listening() -> str:
        if not server.listening or (push and not push.listening):
            raise Unhealthy("the listener has ended")
        return "listens"

    def echo() -> str:
        if server.established >= settings.max_associations:
            raise Unhealthy(f"all {settings.max_associations} associations are taken: the next peer is rejected")
        context = tls.context() if tls else None
        return probes.echo(host, port, called_ae=settings.ae_title, calling_ae=title, tls=context)

    tls = tls_to_ourselves(settings)
    host, port = (settings.host, server.tls_port) if tls else (settings.local_host, server.port)
    metrics.watch(established=lambda: server.established, spool=spool)
    if serves_tls(settings) and settings.tls_certificate:
        metrics.watch_certificate(settings.tls_certificate)
    _serve(
        "gateway",
        settings,
        metrics.registry,
        alive={"listener": listening},
        ready={
            "c-echo": echo,
            "database": lambda: probes.database(database),
            "spool": lambda: probes.spool(spool),
        },
    )


def relay(settings: "Settings", metrics: "RelayMetrics", turns: "Turns", database: "Engine", app: "Celery") -> None:
    from worker.health import outbox_metrics, probes

    outbox_metrics.register(metrics.registry, database, audited=bool(settings.audit_to))
    _serve(
        "relay",
        settings,
        metrics.registry,
        alive={"loop": lambda: turns.alive(ALIVE_SECONDS)},
        ready={
            "loop": lambda: turns.succeeding(READY_SECONDS),
            "database": lambda: probes.database(database),
            "redis": lambda: _redis(app),
        },
    )


def worker(settings: "Settings", metrics: "WorkerMetrics", pulse: "Pulse", database: "Engine", app: "Celery") -> None:
    from worker.health import probes

    metrics.watch(lambda: pulse.silence)
    _serve(
        "worker",
        settings,
        metrics.registry,
        alive={"watch": pulse.watched},
        ready={
            "consuming": pulse.consuming,
            "database": lambda: probes.database(database),
            "redis": lambda: _redis(app),
        },
    )


def counted(publish: "Callable[[Claims], None]", metrics: "RelayMetrics") -> "Callable[[Claims], None]":
    def run(claims: "Claims") -> None:
        publish(claims)
        metrics.published(len(claims))

    return run


def processes(settings: "Settings") -> "dict[str, ProcessAddress]":
    """Whom to ask, by role."""
    from worker.db.session import identity
    from worker.health.client import ProcessAddress

    ports = {
        "gateway": settings.gateway_http_port,
        "relay": settings.relay_http_port,
        "worker": settings.worker_http_port,
    }
    installation = identity(settings.database)
    return {
        role: ProcessAddress(
            role=role,
            host=settings.http_host,
            port=port,
            installation=installation,
            token=settings.http_token.get_secret_value(),
        )
        for role, port in ports.items()
    }


def _serve(
    role: str,
    settings: "Settings",
    registry: "CollectorRegistry",
    *,
    alive: "dict[str, Look]",
    ready: "dict[str, Look]",
) -> None:
    from worker.health import probes
    from worker.health import server as http_endpoint
    from worker.health.probes import Probe
    from worker.setting_values import is_loopback

    us = processes(settings)[role]
    pages = {
        "/metrics": http_endpoint.metrics_page(registry),
        "/healthz": http_endpoint.probe_page(role, us.installation, Probe(alive)),
        "/readyz": http_endpoint.probe_page(role, us.installation, Probe(ready, {"log": probes.log})),
    }
    askers = http_endpoint.Askers(token=us.token, all=is_loopback(us.host))
    http_endpoint.serve(role, us.host, us.port, pages, askers)


def _redis(app: "Celery") -> str:
    from worker.errors import PublishError, Unhealthy
    from worker.queue import broker

    try:
        broker.answers(app)
    except PublishError as error:
        raise Unhealthy(f"Redis: {error}") from None
    return "answers"
