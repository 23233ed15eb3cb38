"""Pushes by web, put together from the settings; part of the gateway process."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from worker.setting_values import listening_place, named_tokens

if TYPE_CHECKING:
    from dicom_gateway.observer import Observer
    from dicom_gateway.options import Received
    from dicom_gateway.other_objects import OtherObject
    from dicom_gateway.peers import Connected, Standing
    from dicom_gateway.spool import Spool
    from worker.http_push.server import PushServer
    from worker.metrics import PushMetrics
    from worker.settings import Settings


def pushing_aes(settings: "Settings") -> tuple[str, ...]:
    """AE titles that have a token."""
    return tuple(name for name, _ in named_tokens(settings.stow_tokens.get_secret_value()))


def push_server(
    settings: "Settings",
    spool: "Spool",
    accept: "Callable[[Received | OtherObject], None]",
    observer: "Observer",
    metrics: "PushMetrics",
    standing: "Callable[[Connected], Standing]",
) -> "PushServer | None":
    """Not started; None where nothing is taken by web. Raises BadCertificate."""
    if not settings.stow:
        return None
    from dicom_gateway.tls import server_tls
    from worker.bearer import NamedToken
    from worker.http_push.admission import Admission
    from worker.http_push.app import PushApp
    from worker.http_push.request_body import Intake
    from worker.http_push.server import PushServer
    from worker.processes.tls_options import tls_options

    place, options = listening_place(settings.stow), tls_options(settings)
    pairs = named_tokens(settings.stow_tokens.get_secret_value())
    app = PushApp(
        Intake(
            spool=spool,
            accept=accept,
            observer=observer,
            called_ae=settings.ae_title,
            keep_other_objects=settings.keep_other_objects,
        ),
        Admission(
            tokens=[NamedToken(name=name, token=token) for name, token in pairs],
            calling_aes=settings.calling_aes,
            certified=place.tls and settings.tls_clients == "certified",
        ),
        silence=settings.network_timeout,
        answered=metrics.answered,
        standing=standing,
        unknown_share=settings.unknown_share,
    )
    return PushServer(place.host, place.port, app, tls=server_tls(options) if place.tls and options else None)
