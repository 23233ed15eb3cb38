"""What audit messages need of the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.audit.actions import Action, Actor
    from worker.audit_messages.feed import FeedOptions
    from worker.audit_messages.transport import Repository
    from worker.settings import Settings


def repository(settings: "Settings") -> "Repository | None":
    """None where the settings name none. Raises ConfigurationError where a certificate cannot be used."""
    from worker.audit_messages.transport import TlsRepository, UdpRepository
    from worker.processes.tls_options import tls_as_client
    from worker.setting_values import audit_route

    if not settings.audit_to:
        return None
    route = audit_route(settings.audit_to)
    if route.scheme == "syslog-udp":
        return UdpRepository(host=route.host, port=route.port)
    return TlsRepository(host=route.host, port=route.port, context=tls_as_client(settings).context)


def feed_options(settings: "Settings") -> "FeedOptions":
    import socket

    from worker.audit_messages.feed import FeedOptions
    from worker.audit_messages.message import Source
    from worker.audit_messages.patients import Patients, withheld
    from worker.processes.parts import open_spool

    return FeedOptions(
        source=Source(
            name=settings.audit_source or socket.gethostname(), ae_title=settings.ae_title, site=settings.site
        ),
        patient_of=Patients(open_spool(settings)) if settings.audit_patient_id else withheld,
    )


@contextmanager
def on_record(settings: "Settings", database: "Engine", actor: "Actor") -> Iterator[None]:
    """The begin and the end of a process in the audit trail, where there is a repository that wants to know.

    A process that is killed has no end there. A database that is away keeps no process from its work.
    """
    if not settings.audit_to:
        yield
        return
    import os
    import socket

    from worker.audit.actions import Action

    detail = {"pid": os.getpid(), "host": socket.gethostname()}
    _record(database, actor, Action.PROCESS_STARTED, detail)
    try:
        yield
    finally:
        _record(database, actor, Action.PROCESS_STOPPED, detail)


def tell_repository(settings: "Settings", database: "Engine", actor: str, fault: str) -> None:
    """That the trail, or a score, is not whole, where there is a repository that wants to know."""
    from worker.audit.actions import Action

    if settings.audit_to:
        _record(database, actor, Action.TRAIL_NOT_WHOLE, {"fault": fault})


def _record(database: "Engine", actor: str, action: "Action", detail: "dict[str, Any]") -> None:
    import logging

    from sqlalchemy.exc import SQLAlchemyError

    from worker.audit import trail
    from worker.audit_messages import feed
    from worker.db.causes import cause
    from worker.db.session import writing

    try:
        with writing(database) as connection:
            feed.begin(connection)
            trail.record(connection, action=action, instance_id=None, actor=actor, detail=detail)
    except SQLAlchemyError as error:
        logging.getLogger("xrayq.audit").warning("not on record", extra={"action": action, "reason": cause(error)})
