"""The worker process: decoders, engines, the score task and what sends results, put together from the settings."""

import logging

from model.bundle import Bundle
from model.engine.base import Engine
from model.engine.batching import BatchingEngine
from model.engine.choose import open_engine
from model.errors import ModelError
from model.gate.rules import Policy
from worker.audit.actions import Actor
from worker.bundles.loaded import Serving
from worker.bundles.roles import open_bundle
from worker.db.session import reading
from worker.errors import Unhealthy
from worker.health import pulse
from worker.metrics import WorkerMetrics
from worker.processes import endpoints
from worker.processes.audit_options import on_record
from worker.processes.parts import broker_url, decode_pool, open_database, open_spool
from worker.processes.result_options import couriers, result_errands
from worker.queue import broker
from worker.queue.retry import RetryOptions
from worker.reporting.acceptance import accepted
from worker.reporting.outlook import ALL_SILENT
from worker.scoring.outcomes import known_reasons
from worker.scoring.task import MOST_RENEWALS, Scoring
from worker.settings import Settings

PLAN_SECONDS = 900.0  # a shadow's TensorRT plan is built inside a task
BATCH_PATIENCE = 0.005  # seconds a GPU batch that is not full waits for more films

log = logging.getLogger("xrayq.worker")


def run(settings: Settings) -> bool:
    """Decode and score films from Redis until told to stop. False where it gave up: it consumed nothing any more."""
    url, database, spool = broker_url(settings), open_database(settings, writes=True), open_spool(settings)
    results = couriers(settings, database, spool)  # a template that cannot be used ends it here
    app = broker.make_app(url, visibility_seconds=settings.lease_seconds)
    probe = broker.prober(app, broker.add_probe_queue(app))
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
        results=result_errands(settings),
    )
    with reading(database) as connection:
        if settings.results_to and not accepted(connection):
            log.warning(f"no result is sent: {ALL_SILENT}")
    log.info("ready", extra={"engine": engine.name, "bundle": live.digest[:12]})
    try:
        life.threads = tasks
        results.start()
        pulse.watch(life, probe)
        with on_record(settings, database, Actor.WORKER):
            broker.consume(app, life.around(scoring.run), concurrency=tasks, seen=life.seen)
    finally:
        results.stop()
        decoders.close()
    return not life.gave_up


def _serving(settings: Settings) -> Serving:
    """Engines as the settings want them, for whichever bundle is in service."""

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
