"""The gateway process: a Storage SCP put together from the settings."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Thread

from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.commitment import CommitmentReport
from dicom_gateway.errors import BadCertificate, CannotListen
from dicom_gateway.observer import Observers
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import Policy
from dicom_gateway.scp import Gateway
from dicom_gateway.spool import MEBIBYTE
from worker.audit.actions import Actor
from worker.committing.reporters import Reporters
from worker.errors import Unhealthy
from worker.health import probes
from worker.http_push.server import PushServer
from worker.metrics import GatewayMetrics, PushMetrics
from worker.processes import endpoints
from worker.processes.admission import Admission, Strangers
from worker.processes.audit_options import on_record
from worker.processes.commitment_options import committing
from worker.processes.parts import cannot_listen, comparing, open_database, open_spool, prepare_spool, told_to_stop
from worker.processes.push import push_server, pushing_aes
from worker.processes.tls_options import tls_options
from worker.queue import periodic
from worker.queue.periodic import Periodic
from worker.receiving import other_objects, refusals
from worker.receiving.ingest import ingest
from worker.receiving.refusals import Refusals
from worker.reporting.destinations import routes_of, store_destinations
from worker.reporting.held import record_report
from worker.settings import Settings


def run(settings: Settings) -> None:
    """Receive films by C-STORE (Storage SCP) and, where it is set, by web. Needs database and spool, not Redis."""
    database, spool = open_database(settings, writes=True), open_spool(settings)
    swept = prepare_spool(settings, spool)
    own_title = probes.own_title()
    metrics = GatewayMetrics(own_title=own_title, calling_aes=(*settings.calling_aes, *pushing_aes(settings)))
    push_metrics = PushMetrics(metrics)
    refused = Refusals(own_title=own_title, known=(*settings.calling_aes, *pushing_aes(settings)))

    pictures, quiet = comparing(settings), timedelta(seconds=settings.study_seconds)

    stop = told_to_stop()
    admission = Admission(
        database,
        Policy(settings.unknown_peers) if settings.unknown_peers else None,
        strangers=Strangers(
            per_minute=settings.unknown_per_minute,
            objects=settings.quarantine_objects,
            size=settings.quarantine_mib * MEBIBYTE,
        ),
        own_title=own_title,
        stop=stop,
        slowed=metrics.slowed,
    )

    def accept(arrived: Received | OtherObject) -> None:
        with admission.taking(arrived) as unknown:
            if isinstance(arrived, Received):
                ingest(database, spool, arrived, pictures.same_picture, quiet=quiet, unknown=unknown)
            else:
                other_objects.record(database, arrived, quiet=quiet, unknown=unknown)
                metrics.other_object(arrived.calling_ae)

    def committed(report: CommitmentReport, reporter: str) -> None:
        record_report(database, report, reporter, Actor.GATEWAY)

    commits = committing(settings, database, spool)
    server = Gateway(
        GatewayOptions(
            host=settings.host,
            port=settings.port or None,
            plain_host=settings.plain_host,
            tls_port=settings.tls_port or None,
            tls=tls_options(settings),
            ae_title=settings.ae_title,
            require_called_ae=settings.require_called_ae,
            calling_aes=(*settings.calling_aes, own_title) if settings.calling_aes else (),
            reporting_aes=routes_of(settings.results_to).called_aes,
            max_associations=settings.max_associations,
            max_quarantined=max(1, int(settings.max_associations * settings.unknown_share)),
            association_timeout=settings.association_timeout,
            network_timeout=settings.network_timeout,
            idle_timeout=settings.idle_timeout,
            keep_other_objects=settings.keep_other_objects,
        ),
        spool,
        accept,
        Observers(metrics, refused),
        committed=committed if settings.results_to else None,
        asked=commits.take,
        standing=admission,
    )
    with _told_in_words():
        push = push_server(settings, spool, accept, Observers(push_metrics, refused), push_metrics, admission)
    reporters = Reporters(commits, store_destinations(settings.commitment_to), stop)
    with on_record(settings, database, Actor.GATEWAY):  # before anybody is let in
        with _told_in_words():
            server.start()
            if push:
                push.start()
        endpoints.gateway(settings, metrics, server, database, spool, own_title, push)
        tell = Periodic(name="refusals", seconds=refusals.SECONDS, run=lambda: refused.write(database))
        periodic.start([tell, admission.following, *reporters.tasks()], stop)
        log = logging.getLogger("xrayq.gateway")
        if swept:
            log.info("removed half-written films that nobody was promised", extra={"count": swept})
        if settings.port:
            log.info("listening", extra={"port": server.port})
        if settings.tls_port:
            log.info("listening with TLS", extra={"port": server.tls_port})
        if push:
            log.info("listening for pushes by web", extra={"port": push.port})
        stop.wait()
        _stop(server, push)
        pictures.close()
        with suppress(SQLAlchemyError):
            refused.write(database)


def _stop(server: Gateway, push: PushServer | None) -> None:
    """The grace of both begins now."""
    ending = Thread(target=push.stop) if push else None
    if ending:
        ending.start()
    server.stop()
    if ending:
        ending.join()


@contextmanager
def _told_in_words() -> Iterator[None]:
    """Raises Unhealthy where a port or a certificate cannot be had."""
    try:
        yield
    except CannotListen as failed:
        raise cannot_listen(failed.host, failed.port, failed.error) from None
    except BadCertificate as error:
        raise Unhealthy(f"no TLS: {error}") from None
