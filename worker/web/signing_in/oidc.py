"""Signing in at an OpenID Connect provider (XRAYQ_WEB_SIGN_IN=oidc): authorization code, PKCE (RFC 7636), state, nonce.

What was begun is in a signed cookie of this browser, one for each tab, and good for one answer within MINUTES.
"""

import base64
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from worker.errors import ConfigurationError, Unhealthy, WrongState
from worker.web.arrival import arrival_of
from worker.web.forms import own_path
from worker.web.people import Person
from worker.web.signing_in.cookies import Cookie
from worker.web.signing_in.failures import Failures
from worker.web.signing_in.names import person_name, role_of
from worker.web.signing_in.provider import Provider
from worker.web.signing_in.session_doors import SessionDoors
from worker.web.signing_in.way import Way, open_route, signed_out
from worker.web.site import Site

RETURN = "/sign-in/return"
"""Path to which the provider sends browsers back; it has to know the whole address."""
MINUTES = 10
LONGEST_PATH = 500
WORDS = {
    "stale_state": "This sign-in began too long ago, in another browser, or was ended before.",
    "provider_refused": "The provider did not sign you in.",
    "bad_token": "What the provider said of you could not be verified. Whoever looks after xrayq finds why in its log.",
    "bad_name": "The provider gave no name for you that can be used here: XRAYQ_WEB_OIDC_NAME.",
    "no_role": "None of your groups may use this page. Whoever looks after xrayq gives groups roles: XRAYQ_WEB_ROLES.",
    "provider_silent": "The provider does not answer as it should now. Try again in a moment.",
}
"""Why somebody is not let in, by its code in the audit trail."""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """Which claims say who it is."""

    name: str
    groups: str
    roles: Sequence[str]
    """GROUP:ROLE each."""


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A sign-in between the two of our pages."""

    state: str
    nonce: str
    verifier: str
    to: str
    until: float


def oidc_way(site: Site, doors: SessionDoors, key: bytes, provider: Provider, mapped: Mapped) -> Way:
    """
    Args:
        key: of the installation.
    """
    pages = _Oidc(site, doors, key, provider, mapped)
    routes = (open_route(site, "/sign-in", pages.begin), open_route(site, RETURN, pages.end), signed_out(site))
    return Way(doors=doors, pages=doors.pages, routes=routes)


class _Oidc:
    """The page from which browsers go to the provider, and the one to which they come back."""

    def __init__(self, site: Site, doors: SessionDoors, key: bytes, provider: Provider, mapped: Mapped) -> None:
        self._site = site
        self._doors = doors
        self._key = key
        self._provider = provider
        self._mapped = mapped
        self._failures = Failures(site.database)
        self._ended: dict[str, float] = {}
        """States that had their answer, and until when they would be good."""

    async def begin(self, request: Request) -> Response:
        to = own_path(request.query_params.get("next", "/"))
        if await to_thread.run_sync(self._doors.visit, request):
            return RedirectResponse(to, 303)
        begun = _Begun(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            to=to if len(to) <= LONGEST_PATH else "/",
            until=time.time() + 60 * MINUTES,
        )
        try:
            address = await self._provider.address(
                redirect_uri=_return_to(request), state=begun.state, nonce=begun.nonce, verifier=begun.verifier
            )
        except Unhealthy:
            return await self._fault(request, "provider_silent")
        answer = RedirectResponse(address, 303)
        self._cookie(begun.state).set(request, answer, _packed(begun))
        return answer

    async def end(self, request: Request) -> Response:
        said = request.query_params
        begun = self._take(request, said.get("state", ""))
        if begun is None:
            return await self._fault(request, "stale_state")
        if "code" not in said or said.get("iss", self._provider.issuer) != self._provider.issuer:  # RFC 9207
            found: Person | str = "provider_refused"
        else:
            found = await self._person(request, said["code"], begun)
        if isinstance(found, str):
            answer = await self._fault(request, found)
        else:
            answer = await to_thread.run_sync(self._doors.start, request, found, begun.to)
        self._cookie(begun.state).clear(request, answer)
        return answer

    async def _person(self, request: Request, code: str, begun: _Begun) -> Person | str:
        """Or why it is nobody."""
        try:
            claims = await self._provider.claims(
                code, redirect_uri=_return_to(request), nonce=begun.nonce, verifier=begun.verifier
            )
        except Unhealthy:
            return "provider_silent"
        except WrongState as error:
            return str(error)
        return _person(claims, self._mapped)

    def _take(self, request: Request, state: str) -> _Begun | None:
        """What this browser began under this state, once."""
        now = time.time()
        self._ended = {old: until for old, until in self._ended.items() if until > now}
        if not re.fullmatch(r"[\w-]{43}", state, re.ASCII) or state in self._ended:
            return None
        begun = _unpacked(self._cookie(state).read(request))
        if begun is None or begun.state != state or begun.until <= now:
            return None
        self._ended[state] = begun.until
        return begun

    def _cookie(self, state: str) -> Cookie:
        return Cookie(f"xrayq-oidc-{state[:8]}", self._key, seconds=60 * MINUTES)

    async def _fault(self, request: Request, why: str) -> Response:
        address = arrival_of(request).address
        await to_thread.run_sync(lambda: self._failures.tell(why, address=address))
        status = 503 if why == "provider_silent" else 403
        return self._site.outside(
            "outside.html", status=status, heading="Not signed in", text=WORDS[why], again="/sign-in"
        )


def _person(claims: Mapping[str, Any], mapped: Mapped) -> Person | str:
    name, groups = claims.get(mapped.name), claims.get(mapped.groups, [])
    try:
        who = person_name(name) if isinstance(name, str) else None
    except ConfigurationError:
        who = None
    if who is None:
        return "bad_name"
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    role = role_of([group for group in listed if isinstance(group, str)], mapped.roles)
    return Person(name=who, role=role) if role else "no_role"


def _return_to(request: Request) -> str:
    """By the name under which this browser reached us; `Door` has let only ours through."""
    scheme = "https" if arrival_of(request).secure else "http"
    return f"{scheme}://{request.headers['host']}{RETURN}"


def _packed(begun: _Begun) -> str:
    return base64.urlsafe_b64encode(json.dumps(asdict(begun)).encode()).decode()


def _unpacked(text: str | None) -> _Begun | None:
    """We signed it, so it is what we packed."""
    return _Begun(**json.loads(base64.urlsafe_b64decode(text))) if text else None
