"""What `xrayq doctor` looks at. Each check returns what it found, or raises with what is wrong and what to do."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.spool import MEBIBYTE
from model.errors import BundleError
from worker.bundles.roles import Placed, by_settings, in_service, open_bundle
from worker.db import schema
from worker.db.causes import cause
from worker.db.session import database_time, reading
from worker.db.tables import instance, outbox
from worker.errors import Unhealthy, WorkerError
from worker.health import probes
from worker.health.probes import Finding, reachable
from worker.nightly import drawing
from worker.queue.outbox import ahead
from worker.receiving import orphans
from worker.settings import Settings
from worker.states import State
from worker.words.sizes import size

if TYPE_CHECKING:
    from model.bundle import Bundle

STUCK_MINUTES = 15


def run(settings: Settings) -> list[Finding]:
    """Every check, in the order of the data flow; a failing one does not stop the others."""
    findings = []
    for name, check in CHECKS:
        try:
            findings.append(Finding(check=name, ok=True, text=check(settings)))
        except WorkerError as error:
            findings.append(Finding(check=name, ok=False, text=str(error)))
        except SQLAlchemyError as error:
            findings.append(Finding(check=name, ok=False, text=f"the database does not answer: {cause(error)}"))
    return findings


def _gateway(settings: Settings) -> str:
    from dicom_gateway.scu import PeerUnavailable, Rejected, echo

    host = reachable(settings.host)
    try:
        echo(host, settings.port, called_ae=settings.ae_title, calling_ae=(*settings.calling_aes, "XRAYQ-DOCTOR")[0])
    except Rejected as error:
        raise Unhealthy(f"{error}: see XRAYQ_AE_TITLE and XRAYQ_CALLING_AES, and whether that is ours") from None
    except PeerUnavailable as error:
        raise Unhealthy(f"{error}: start 'xrayq up' or 'xrayq gateway', or set XRAYQ_PORT") from None
    return f"{settings.ae_title} answers C-ECHO on {host}:{settings.port}"


def _spool(settings: Settings) -> str:
    folder = settings.spool_folder
    if not folder.is_dir():
        raise Unhealthy(f"spool {folder} does not exist: the gateway makes it when it starts")
    free, reserve = shutil.disk_usage(folder).free, settings.spool_reserve_mib * MEBIBYTE
    if free < reserve:
        raise Unhealthy(f"spool has {size(free)} free, below the reserve of {size(reserve)}")
    return f"{size(free)} free"


def _database(settings: Settings) -> str:
    return probes.database(_connect(settings))


def _connect(settings: Settings) -> Engine:
    return schema.connect(settings.database, settings.database_timeout)


def _orphans(settings: Settings) -> str:
    found = orphans.orphans(_connect(settings), settings.spool_folder)
    if found:
        raise Unhealthy(orphans.told(found))
    if found is not None:
        return "every film of the spool is in the database"
    if not settings.spool_folder.exists():
        return "no film yet: the gateway makes the spool when it starts"
    return f"not known: the spool {settings.spool_folder} cannot be read from here"


def _redis(settings: Settings) -> str:
    from worker.queue import broker
    from worker.queue.outbox import PublishError

    url = _broker(settings)
    try:
        broker.answers(broker.make_app(url, visibility_seconds=settings.lease_seconds))
    except PublishError as error:
        raise Unhealthy(f"Redis at {broker.address(url)}: {error}; check it and XRAYQ_REDIS_URL") from None
    return f"answers at {broker.address(url)}"


def _worker(settings: Settings) -> str:
    from kombu.exceptions import KombuError
    from redis.exceptions import RedisError

    from worker.queue import broker

    try:
        count = broker.ping(broker.make_app(_broker(settings), visibility_seconds=settings.lease_seconds))
    except (KombuError, RedisError, OSError) as error:
        raise Unhealthy(f"cannot ask for workers: {broker.cause(error)}") from None
    if not count:
        raise Unhealthy("no worker answers: start 'xrayq up' or 'xrayq worker'")
    return f"{count} answering"


def _bundle(settings: Settings) -> str:
    found: tuple[Placed | None, list[Placed]] = None, []
    with suppress(WorkerError, SQLAlchemyError):  # the database has a check of its own
        found = _placed(settings)
    try:
        bundle = open_bundle(found[0] or by_settings(settings.bundle))
        silent = [open_bundle(one) for one in found[1]]
    except BundleError as error:
        raise Unhealthy(str(error)) from None
    precisions = ", ".join(("fp32", *bundle.variants))
    text = f"{bundle.name} {bundle.version}, digest {bundle.digest[:12]}, {precisions}; engine {settings.engine}"
    text += f"; gate: {_gate_of(bundle)}"
    return text + "".join(f"; shadow {one.name} {one.version}, digest {one.digest[:12]}" for one in silent)


def _placed(settings: Settings) -> tuple[Placed | None, list[Placed]]:
    with reading(_connect(settings)) as connection:
        return in_service(connection)


def _gate_of(bundle: "Bundle") -> str:
    if bundle.gate is None:
        return "header and image quality alone"
    found = bundle.gate["metrics"]["val"]
    return (
        f"refuses {found['eligible_refused']['value']:.1%} of eligible validation films and "
        f"{found['ap_tagged_pa_refused']['value']:.1%} of AP films called PA"
    )


def _backlog(settings: Settings) -> str:
    with reading(_connect(settings)) as connection:
        waiting = connection.execute(select(func.count()).select_from(outbox)).scalar_one()
        failed = connection.execute(select(func.count()).where(instance.c.state == State.FAILED)).scalar_one()
        oldest = connection.execute(
            select(func.min(instance.c.received_at)).where(instance.c.state == State.RECEIVED)
        ).scalar_one()
        now = database_time(connection)
        early = ahead(connection, now)
    if early:
        raise Unhealthy(f"{early} films wait that came in the future: is the clock of the database's host right?")
    if oldest and now - oldest > timedelta(minutes=STUCK_MINUTES):
        raise Unhealthy(f"{waiting} films wait, the oldest since {oldest:%Y-%m-%d %H:%M} UTC: is a worker running?")
    return f"{waiting} films wait, {failed} dead letters"


def _report(settings: Settings) -> str:
    if fault := drawing.fault():
        raise Unhealthy(f"no nightly report: {drawing.advice(fault)}")
    return f"can be drawn, each day at {settings.report_time}" if settings.report_time else "can be drawn by hand"


def _broker(settings: Settings) -> str:
    from worker.processes.redis_server import running_socket

    url = settings.redis_url or running_socket(settings.home)
    if not url:
        raise Unhealthy("no Redis: 'xrayq up' is not running in this home, and XRAYQ_REDIS_URL is not set")
    return url


CHECKS: tuple[tuple[str, Callable[[Settings], str]], ...] = (
    ("gateway", _gateway),
    ("spool", _spool),
    ("database", _database),
    ("orphans", _orphans),
    ("redis", _redis),
    ("worker", _worker),
    ("bundle", _bundle),
    ("backlog", _backlog),
    ("report", _report),
)
