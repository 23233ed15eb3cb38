"""The relay process: the outbox, and the tasks beside it, put together from the settings."""

from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from worker.audit.actions import Actor
from worker.health.probes import Turns
from worker.metrics import RelayMetrics
from worker.processes import endpoints
from worker.processes.audit_options import on_record
from worker.processes.backfill_options import refusals_of_relay
from worker.processes.parts import broker_url, must_be_folder, open_database, told_to_stop
from worker.processes.relay_tasks import tasks
from worker.queue import broker, outbox, periodic
from worker.settings import Settings


def run(settings: Settings) -> None:
    """Send the ids of received films to the workers, and again when no result comes."""
    must_be_folder(settings.reports, "XRAYQ_REPORT_FOLDER")
    database = open_database(settings, writes=True)
    app = broker.make_app(broker_url(settings), visibility_seconds=settings.lease_seconds)
    stop = told_to_stop()
    refused = refusals_of_relay(settings)
    periodic.start(tasks(settings, database, stop, refused), stop)
    options = outbox.RelayOptions(
        batch_size=settings.batch_size,
        max_in_flight=settings.max_in_flight,
        lease_seconds=settings.lease_seconds,
        poll_seconds=settings.poll_seconds,
    )
    metrics, turns = RelayMetrics(), Turns()
    endpoints.relay(settings, metrics, turns, database, app)
    with on_record(settings, database, Actor.RELAY):
        outbox.relay(database, endpoints.counted(broker.publisher(app), metrics), options, stop.is_set, turns.turned)
        with suppress(SQLAlchemyError):
            refused.write(database)
