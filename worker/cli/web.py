"""xrayq web: the settings to the parts of the web page."""

from typing import TYPE_CHECKING

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.web.operations.parts import OperationsOptions


def serve(settings: "Settings") -> None:
    """Until SIGTERM or SIGINT. Raises WorkerError where it cannot start."""
    from worker.processes.parts import cannot_listen, open_database
    from worker.setting_values import listening_place
    from worker.web.app import application
    from worker.web.doors import OpenDoors
    from worker.web.operations.parts import Operations
    from worker.web.server import listen, run
    from worker.web.site import Site, WebOptions

    if not settings.web:
        raise ConfigurationError("XRAYQ_WEB is empty: the page is served nowhere")
    place = listening_place(settings.web)
    if settings.web_sign_in != "off" or place.tls:
        raise ConfigurationError("XRAYQ_WEB: signing in and tls: are not served yet; only this machine's own address")
    database = open_database(settings, writes=True)
    site = Site(
        database=database,
        operations=Operations(database, _operations(settings)),
        options=WebOptions(
            site=settings.site,
            zone=settings.zone,
            bundle=settings.bundle,
            reports=settings.reports,
            urgent=frozenset(settings.urgent),
        ),
    )
    try:
        listener = listen(place.host, place.port)
    except OSError as error:
        raise cannot_listen(place.host, place.port, error) from None
    run(application(site, OpenDoors()), listener)


def _operations(settings: "Settings") -> "OperationsOptions":
    from worker.bundles.roles import default_of
    from worker.cli.status import status_options
    from worker.processes.parts import film_comparison
    from worker.processes.result_options import routes, take_back
    from worker.web.operations.parts import OperationsOptions

    default = default_of(settings.bundle)
    return OperationsOptions(
        status=status_options(settings),
        routes=routes(settings),
        default=default,
        take_back=take_back(settings, default),
        compare=lambda: film_comparison(settings),
        margin=settings.acceptance_margin,
        strangers=settings.unknown_peers or "allowed on this machine, quarantine from elsewhere",
    )
