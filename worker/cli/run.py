"""The processes: up, gateway, relay, worker."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    broker_url,
    comparing,
    decode_pool,
    load_settings,
    make_folder,
    must_be_folder,
    open_database,
    open_spool,
    prepare_spool,
    start_logging,
    variable_of_spool,
)
from worker.errors import Unhealthy

if TYPE_CHECKING:
    from threading import Event

    from worker.serving import Serving
    from worker.settings import Settings

PLAN_SECONDS = 900.0  # a shadow's TensorRT plan is built inside a task
BATCH_PATIENCE = 0.005  # seconds a GPU batch that is not full waits for more films


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Run")(up)
    app.command(rich_help_panel="Run")(gateway)
    app.command(rich_help_panel="Run")(relay)
    app.command(rich_help_panel="Run")(worker)


def up(
    port: Annotated[int | None, typer.Option(help="Port of the gateway; default 11112.")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder for database and spool; default ~/.xrayq.")] = None,
) -> None:
    """Run gateway, relay and worker on this machine, with SQLite and an own Redis unless told otherwise.

    \b
    xrayq up
    xrayq up --port 104 --home /var/lib/xrayq
    XRAYQ_DATABASE_URL=postgresql://xrayq@db/xrayq XRAYQ_REDIS_URL=redis://cache xrayq up
    """
    import os

    from worker import supervisor
    from worker.db import schema
    from worker.db.session import make_engine

    overrides = {
        "XRAYQ_PORT": str(port) if port is not None else "",
        "XRAYQ_HOME": str(home.absolute()) if home else "",
    }
    os.environ.update({name: value for name, value in overrides.items() if value})
    settings = _begin()
    make_folder(settings.home, "XRAYQ_HOME")
    make_folder(settings.spool_folder, variable_of_spool(settings))
    must_be_folder(settings.reports, "XRAYQ_REPORT_FOLDER")
    schema.upgrade(make_engine(settings.database, settings.database_timeout))
    open_database(settings, writes=True).dispose()
    supervisor.supervise(settings)


def gateway() -> None:
    """Receive films by C-STORE (Storage SCP). Needs the database and the spool, not Redis."""
    from contextlib import suppress

    from sqlalchemy.exc import SQLAlchemyError

    from dicom_gateway.observer import Observers
    from dicom_gateway.options import GatewayOptions, Received
    from dicom_gateway.other_objects import OtherObject
    from dicom_gateway.scp import Gateway
    from worker import other_objects, periodic, probes, refusals
    from worker.cli import endpoints
    from worker.ingest import ingest
    from worker.metrics import GatewayMetrics
    from worker.periodic import Periodic
    from worker.refusals import Refusals
    from worker.supervisor import cannot_listen

    settings = _begin()
    database, spool = open_database(settings, writes=True), open_spool(settings)
    swept = prepare_spool(settings, spool)
    own_title = probes.own_title()
    metrics = GatewayMetrics(own_title=own_title, calling_aes=settings.calling_aes)
    refused = Refusals(own_title=own_title, known=settings.calling_aes)

    pictures = comparing(settings)

    def accept(arrived: Received | OtherObject) -> None:
        if isinstance(arrived, Received):
            ingest(database, spool, arrived, pictures.same_picture)
        else:
            other_objects.record(database, arrived)
            metrics.other_object(arrived.calling_ae)

    server = Gateway(
        GatewayOptions(
            host=settings.host,
            port=settings.port,
            ae_title=settings.ae_title,
            require_called_ae=settings.require_called_ae,
            calling_aes=(*settings.calling_aes, own_title) if settings.calling_aes else (),
            max_associations=settings.max_associations,
            association_timeout=settings.association_timeout,
            network_timeout=settings.network_timeout,
            idle_timeout=settings.idle_timeout,
            keep_other_objects=settings.keep_other_objects,
        ),
        spool,
        accept,
        Observers(metrics, refused),
    )
    stop = _told_to_stop()
    try:
        server.start()
    except OSError as error:
        raise cannot_listen(settings.host, settings.port, error) from None
    endpoints.gateway(settings, metrics, server, database, spool, own_title)
    tell = Periodic(name="refusals", seconds=refusals.SECONDS, run=lambda: refused.write(database))
    periodic.start([tell], stop)
    logging.getLogger("xrayq.gateway").info("listening", extra={"port": server.port, "count": swept})
    stop.wait()
    server.stop()
    pictures.close()
    with suppress(SQLAlchemyError):
        refused.write(database)


def relay() -> None:
    """Publish received films to Redis, and again when a lease passes without a result."""
    from worker import outbox, periodic, queue
    from worker.cli import endpoints
    from worker.cli.relay_tasks import tasks
    from worker.metrics import RelayMetrics
    from worker.probes import Turns

    settings = _begin()
    must_be_folder(settings.reports, "XRAYQ_REPORT_FOLDER")
    database = open_database(settings, writes=True)
    app = queue.make_app(broker_url(settings), visibility_seconds=settings.lease_seconds)
    stop = _told_to_stop()
    periodic.start(tasks(settings, database), stop)
    options = outbox.RelayOptions(
        batch_size=settings.batch_size,
        max_in_flight=settings.max_in_flight,
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
    )
    metrics, turns = RelayMetrics(), Turns()
    endpoints.relay(settings, metrics, turns, database, app)
    outbox.relay(database, endpoints.counted(queue.publisher(app), metrics), options, stop.is_set, turns.turned)


def worker() -> None:
    """Decode and score films from Redis. One process for each GPU or CPU host."""
    from model.errors import ModelError
    from worker import pulse, queue
    from worker.cli import endpoints
    from worker.db.session import reading
    from worker.deployment import open_bundle
    from worker.metrics import WorkerMetrics
    from worker.outcomes import known_reasons
    from worker.scoring import MOST_RENEWALS, RetryOptions, Scoring

    log = logging.getLogger("xrayq.worker")
    settings = _begin()
    url, database, spool = broker_url(settings), open_database(settings, writes=True), open_spool(settings)
    app = queue.make_app(url, visibility_seconds=settings.lease_seconds)
    probe = queue.prober(app, queue.add_probe_queue(app))
    slowest_batch = 2 * settings.batch_size * settings.decode_timeout / settings.decoders  # each film tried twice
    longest_task = max(MOST_RENEWALS * settings.lease_seconds / 3, slowest_batch + PLAN_SECONDS)
    life = pulse.Pulse(stall_seconds=settings.stall_seconds, longest_task=longest_task)
    metrics = WorkerMetrics(known_reasons())
    endpoints.worker(settings, metrics, life, database, app)
    try:
        serving = _serving(settings)
        with reading(database) as connection:
            live = serving.current(connection).live
        if settings.bundle and live.changed_at:
            log.warning("XRAYQ_BUNDLE does not score: a bundle was activated, see 'xrayq bundle status'")
        # First: its processes get ready while the engine does.
        decoders = decode_pool(settings, open_bundle(live).preprocess, processes=settings.decoders)
        with serving.using(live) as loaded:
            engine = loaded.engine.spec
            metrics.serves(loaded.engine, bundle=live.digest, bundle_version=loaded.bundle.version)
    except ModelError as error:
        raise Unhealthy(str(error)) from None
    tasks = settings.inferences
    if engine.device != "cpu":  # a GPU wants full batches: two of them under way, filled across messages
        tasks = max(tasks, -(-2 * max(engine.batches) // settings.batch_size))
    scoring = Scoring(
        database=database,
        spool=spool,
        serving=serving,
        decoders=decoders,
        retry=RetryOptions(
            max_attempts=settings.max_attempts,
            retry_seconds=settings.retry_seconds,
            lease_seconds=settings.lease_seconds,
        ),
        metrics=metrics,
    )
    log.info("ready", extra={"engine": engine.name, "bundle": live.digest[:12]})
    try:
        life.threads = tasks
        pulse.watch(life, probe)
        queue.consume(app, life.around(scoring.run), concurrency=tasks, seen=life.seen)
    finally:
        decoders.close()
    if life.gave_up:
        raise typer.Exit(Unhealthy.exit_code)


def _begin() -> "Settings":
    """What each process does first. From here on nothing that it writes waits for a reader."""
    from worker.log_sink import let_nobody_wait

    settings = load_settings()
    let_nobody_wait()
    start_logging(settings)
    return settings


def _told_to_stop() -> "Event":
    """Set by SIGTERM and SIGINT."""
    import _thread
    import signal
    import threading

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # In a thread: what it interrupted may be a wait for this event, and hold the lock that `set` needs.
        signal.signal(number, lambda *_: _thread.start_new_thread(stop.set, ()))
    return stop


def _serving(settings: "Settings") -> "Serving":
    """Engines as the settings want them, for whichever bundle is in service."""
    from model.bundle import Bundle
    from model.engine.base import Engine
    from model.engine.batching import BatchingEngine
    from model.engine.choose import open_engine
    from model.gate import Policy
    from worker.serving import Serving

    def open_(bundle: Bundle) -> Engine:
        engine = open_engine(
            bundle,
            settings.engine,
            threads=settings.threads,
            plans=settings.plan_folder,
            flag_tolerance=settings.flag_tolerance,
            fallback=settings.engine_fallback,
        )
        if engine.spec.device == "cpu":
            return engine
        return BatchingEngine(engine, most=max(engine.spec.batches), patience=BATCH_PATIENCE, streams=2)

    policy = Policy(
        modalities=settings.modalities,
        body_parts=settings.body_parts,
        views=settings.views,
        min_age=settings.min_age,
        mark=frozenset(settings.mark),
    )
    return Serving(default=settings.bundle, open_engine=open_, policy=policy)
