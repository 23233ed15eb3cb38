"""How a request came: from whom, over what, and by which name. What comes by another way is refused before any page.

A page of another site can make a browser ask us under that site's own name (DNS rebinding): so only our names count.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("xrayq.web")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """By which ways the page may be reached."""

    names: frozenset[str]
    """Of the header Host, without port, in lower case."""
    proxies: tuple[Network, ...] = ()
    only_proxies: bool = False
    """Whether nobody else is served: plain HTTP on an address of the network."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One request's way."""

    address: str
    """Of the browser; behind a proxy, as the proxy says."""
    proxied: bool
    secure: bool
    """Whether the browser speaks TLS, to us or to a proxy of ours."""


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises ValueError."""
    return tuple(map(ip_network, texts))


def arrival_of(request: Request) -> Arrival:
    """As `Door` found it."""
    found: Arrival = request.state.arrival
    return found


class Door:
    """In front of everything: refuses, or notes the Arrival."""

    def __init__(self, app: ASGIApp, entrance: Entrance | None) -> None:
        """
        Args:
            entrance: None: every name, and no proxy.
        """
        self._app = app
        self._entrance = entrance
        self._minute = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        client = request.client.host if request.client else ""
        proxied = self._entrance is not None and _among(client, self._entrance.proxies)
        if self._entrance and _host(request) not in self._entrance.names:
            await PlainTextResponse("xrayq has no such name: see XRAYQ_WEB_HOSTS", 421)(scope, receive, send)
            return
        if self._entrance and self._entrance.only_proxies and not proxied:
            self._log(client)
            await PlainTextResponse("this page is reached by its proxy alone", 403)(scope, receive, send)
            return
        scope.setdefault("state", {})["arrival"] = Arrival(
            address=_forwarded(request, self._entrance.proxies) if proxied and self._entrance else client,
            proxied=proxied,
            secure=proxied or scope["scheme"] == "https",
        )
        await self._app(scope, receive, send)

    def _log(self, client: str) -> None:
        """Once a minute: who tries does not fill the log."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            log.warning("a request that did not come from the proxy was refused", extra={"peer": client})


def _host(request: Request) -> str:
    """Without port; "" where there is none, or more than one."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1:
        return ""
    name, bracket, _ = hosts[0].lower().partition("]")
    return name.removeprefix("[") if bracket else name.partition(":")[0].rstrip(".")


def _forwarded(request: Request, proxies: tuple[Network, ...]) -> str:
    """The last address of X-Forwarded-For that is no proxy of ours: what stands before it anybody can have written."""
    named = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    for text in reversed([part.strip() for part in named]):
        if not _among(text, proxies):
            return text[:64] if _is_address(text) else ""
    return ""


def _among(text: str, networks: tuple[Network, ...]) -> bool:
    return _is_address(text) and any(ip_address(text) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
