"""xrayq web: the settings to the parts of the web page."""

import logging
from typing import TYPE_CHECKING

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.settings import Settings
    from worker.web.arrival import Entrance
    from worker.web.operations.parts import OperationsOptions
    from worker.web.pictures.film_pictures import FilmPictures
    from worker.web.signing_in.session_doors import SessionDoors
    from worker.web.signing_in.way import Way
    from worker.web.site import Site


def film_pictures(settings: "Settings", database: "Engine") -> "FilmPictures":
    """What draws films and their maps, with the limits of the settings; `close` it."""
    from dicom_gateway.spool import MEBIBYTE
    from worker.bundles.roles import open_by_digest
    from worker.web.pictures.film_pictures import FilmPictures

    return FilmPictures(
        lambda digest: open_by_digest(database, digest, settings.bundle),
        memory_bytes=settings.decode_memory_mib * MEBIBYTE,
        max_pixels=int(settings.max_megapixels * 1e6),
        seconds=settings.decode_timeout,
        reduce=settings.reduced_resolution,
    )


def serve(settings: "Settings") -> None:
    """Until SIGTERM or SIGINT. Raises WorkerError where it cannot start."""
    from worker.bundles.roles import default_of
    from worker.processes.parts import cannot_listen, open_database, open_spool
    from worker.processes.replaying import replay_film
    from worker.processes.result_options import take_back
    from worker.processes.tls_options import tls_of_web
    from worker.setting_values import listening_place
    from worker.web.app import PAGES, application
    from worker.web.film_tools import FilmTools
    from worker.web.operations.parts import Operations
    from worker.web.server import listen, run, server
    from worker.web.site import Site, WebOptions

    if not settings.web:
        raise ConfigurationError("XRAYQ_WEB is empty: the page is served nowhere")
    place = listening_place(settings.web)
    tls = tls_of_web(settings)
    database = open_database(settings, writes=True)
    pictures = film_pictures(settings, database)
    site = Site(
        database=database,
        films=FilmTools(
            replay=lambda film: replay_film(settings, database, film),
            take_back=take_back(settings, default_of(settings.bundle)),
            pictures=pictures,
            path_of=open_spool(settings).path_of,
            viewer=settings.web_viewer,
        ),
        operations=Operations(database, _operations(settings)),
        options=WebOptions(
            site=settings.site,
            zone=settings.zone,
            bundle=settings.bundle,
            reports=settings.reports,
            urgent=frozenset(settings.urgent),
        ),
    )
    way = _way(settings, site)
    app = application(site, way.doors, (*PAGES, *way.pages), outside=way.routes, entrance=_entrance(settings))
    try:
        listener = listen(place.host, place.port)
    except OSError as error:
        raise cannot_listen(place.host, place.port, error) from None
    try:
        run(server(app, tls), listener)
    finally:
        pictures.close()


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


def _entrance(settings: "Settings") -> "Entrance":
    """By which names and addresses the page is reached."""
    from worker.setting_values import is_loopback, listening_place
    from worker.web.arrival import Entrance, networks_of

    place = listening_place(settings.web)
    names = {place.host.lower(), *(name.lower() for name in settings.web_hosts)}
    here = {"localhost", "127.0.0.1", "::1"} if is_loopback(place.host) else set()
    plain = not (place.tls or is_loopback(place.host))
    return Entrance(
        names=frozenset(names | here),
        proxies=networks_of(settings.web_proxy),
        only_proxies=plain or settings.web_sign_in == "proxy",
    )


def _way(settings: "Settings", site: "Site") -> "Way":
    """How people sign in."""
    from datetime import timedelta

    from worker.db.keys import installation_key
    from worker.web.doors import OpenDoors
    from worker.web.signing_in import users
    from worker.web.signing_in.local import local_way
    from worker.web.signing_in.proxy import ProxyOptions, proxy_way
    from worker.web.signing_in.session_doors import SessionDoors
    from worker.web.signing_in.sessions import Lengths
    from worker.web.signing_in.way import Way

    if settings.web_sign_in == "off":
        return Way(doors=OpenDoors())
    key = installation_key(site.database, "web")
    lengths = Lengths(
        whole=timedelta(hours=settings.web_session_hours), idle=timedelta(minutes=settings.web_idle_minutes)
    )
    doors = SessionDoors(site.database, key, lengths, sign_in_rules(settings))
    if settings.web_sign_in == "local":
        if not users.listed(site.database):
            logging.getLogger("xrayq.web").warning("nobody can sign in yet: 'xrayq user add NAME --role admin'")
        return local_way(site, doors, key)
    if settings.web_sign_in == "proxy":
        options = ProxyOptions(user=settings.web_proxy_user, groups=settings.web_proxy_groups, roles=settings.web_roles)
        return proxy_way(site, doors, key, options)
    return _oidc(settings, site, doors, key)


def sign_in_rules(settings: "Settings") -> str:
    """Whose word counts for who somebody is, and which roles it gives."""
    oidc = settings.web_oidc_issuer, settings.web_oidc_client_id, settings.web_oidc_name, settings.web_oidc_role
    proxy = settings.web_proxy_user, settings.web_proxy_groups
    theirs = {"oidc": (*oidc, *settings.web_roles), "proxy": (*proxy, *settings.web_roles)}
    return repr((settings.web_sign_in, *theirs.get(settings.web_sign_in, ())))


def _oidc(settings: "Settings", site: "Site", doors: "SessionDoors", key: bytes) -> "Way":
    from worker.web.signing_in.oidc import Mapped, oidc_way
    from worker.web.signing_in.provider import Client, Provider

    client = Client(
        issuer=settings.web_oidc_issuer,
        id=settings.web_oidc_client_id,
        secret=settings.web_oidc_client_secret.get_secret_value(),
    )
    mapped = Mapped(name=settings.web_oidc_name, groups=settings.web_oidc_role, roles=settings.web_roles)
    return oidc_way(site, doors, key, Provider(client), mapped)
