"""xrayq web: the settings to the parts of the web page."""

import logging
from typing import TYPE_CHECKING

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.web.arrival import Entrance
    from worker.web.signing_in.session_doors import SessionDoors
    from worker.web.signing_in.way import Way
    from worker.web.site import Site


def serve(settings: "Settings") -> None:
    """Until SIGTERM or SIGINT. Raises WorkerError where it cannot start."""
    from worker.processes.parts import cannot_listen, open_database
    from worker.processes.tls_options import tls_of_web
    from worker.setting_values import listening_place
    from worker.web.app import PAGES, application
    from worker.web.server import listen, run, server
    from worker.web.site import Site, WebOptions

    if not settings.web:
        raise ConfigurationError("XRAYQ_WEB is empty: the page is served nowhere")
    place = listening_place(settings.web)
    tls = tls_of_web(settings)
    site = Site(
        database=open_database(settings, writes=True),
        options=WebOptions(
            site=settings.site, zone=settings.zone, bundle=settings.bundle, urgent=frozenset(settings.urgent)
        ),
    )
    way = _way(settings, site)
    app = application(site, way.doors, (*PAGES, *way.pages), outside=way.routes, entrance=_entrance(settings))
    try:
        listener = listen(place.host, place.port)
    except OSError as error:
        raise cannot_listen(place.host, place.port, error) from None
    run(server(app, tls), listener)


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
    doors = SessionDoors(site.database, key, lengths)
    if settings.web_sign_in == "local":
        if not users.listed(site.database):
            logging.getLogger("xrayq.web").warning("nobody can sign in yet: 'xrayq user add NAME --role admin'")
        return local_way(site, doors, key)
    if settings.web_sign_in == "proxy":
        options = ProxyOptions(user=settings.web_proxy_user, groups=settings.web_proxy_groups, roles=settings.web_roles)
        return proxy_way(site, doors, options)
    return _oidc(settings, site, doors, key)


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
