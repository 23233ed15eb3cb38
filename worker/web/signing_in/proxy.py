"""Signing in at a proxy, which says in headers who it is (XRAYQ_WEB_SIGN_IN=proxy).

The headers count only in what comes from the proxy's address, in every request anew: who is another there, or in other
groups, is so here at once. The session beside it is for the audit trail, and for the tokens of forms. It begins when
the browser has shown that it keeps cookies: else each request would begin one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from worker.errors import ConfigurationError
from worker.web.arrival import arrival_of
from worker.web.forms import own_path
from worker.web.people import Person, Visit
from worker.web.signing_in.cookies import Cookie
from worker.web.signing_in.failures import Failures
from worker.web.signing_in.names import person_name, role_of
from worker.web.signing_in.session_doors import SessionDoors
from worker.web.signing_in.way import Way, open_route, signed_out
from worker.web.site import Site

WORDS = {
    "not_proxied": "This page is reached through the hospital's proxy alone.",
    "no_user": "The proxy did not say who you are. Whoever looks after it finds the header in XRAYQ_WEB_PROXY_USER.",
    "bad_name": "The proxy's name for you cannot be used here: letters, digits, spaces and . _ - @ + \\, 55 at most.",
    "no_cookies": "This browser keeps no cookies of this page, which needs them.",
    "no_role": "None of your groups may use this page. Whoever looks after xrayq gives groups roles: XRAYQ_WEB_ROLES.",
}
"""Why somebody is not let in, by its code in the audit trail."""


@dataclass(frozen=True, kw_only=True)
class ProxyOptions:
    """From the settings."""

    user: str
    """Header."""
    groups: str
    """Header, comma-separated."""
    roles: Sequence[str]
    """GROUP:ROLE each."""


def proxy_way(site: Site, sessions: SessionDoors, key: bytes, options: ProxyOptions) -> Way:
    """
    Args:
        key: of the installation.
    """
    doors = _ProxyDoors(site, sessions, key, options)
    routes = (open_route(site, "/sign-in", doors.sign_in), signed_out(site))
    return Way(doors=doors, pages=sessions.pages, routes=routes)


class _ProxyDoors:
    """Who has a session, and is the same to the proxy still."""

    def __init__(self, site: Site, sessions: SessionDoors, key: bytes, options: ProxyOptions) -> None:
        self._site = site
        self._sessions = sessions
        self._options = options
        self._cookie = Cookie("xrayq-kept", key)
        self._failures = Failures(site.database)

    def visit(self, request: Request) -> Visit | None:
        said = self._said(request)
        if isinstance(said, str):
            return None
        visit = self._sessions.visit(request)
        return visit if visit and visit.person == said else None

    async def sign_in(self, request: Request) -> Response:
        return await to_thread.run_sync(self._sign_in, request)

    def _sign_in(self, request: Request) -> Response:
        said = self._said(request)
        return self._refused(request, said) if isinstance(said, str) else self._let_in(request, said)

    def _let_in(self, request: Request, person: Person) -> Response:
        to = own_path(request.query_params.get("next", "/"))
        if self._cookie.read(request):
            answer = self._sessions.start(request, person, to)
            self._cookie.clear(request, answer)
            return answer
        if "again" in request.query_params:
            return self._refused(request, "no_cookies")
        answer = RedirectResponse(f"/sign-in?{urlencode({'next': to, 'again': 1})}", 303)
        self._cookie.set(request, answer, "yes")
        return answer

    def _refused(self, request: Request, why: str) -> Response:
        self._failures.tell(why, address=arrival_of(request).address)
        return self._site.outside("outside.html", status=403, heading="Not signed in", text=WORDS[why])

    def _said(self, request: Request) -> Person | str:
        """Or why it is nobody. A header that came twice is no answer: one of the two may be the browser's."""
        if not arrival_of(request).proxied:
            return "not_proxied"
        names, groups = (request.headers.getlist(name) for name in (self._options.user, self._options.groups))
        if len(names) != 1 or len(groups) > 1:
            return "no_user"
        try:
            name = person_name(_utf8(names[0]))
            role = role_of([part.strip() for part in _utf8("".join(groups)).split(",")], self._options.roles)
        except (ConfigurationError, UnicodeDecodeError):
            return "bad_name"
        return Person(name=name, role=role) if role else "no_role"


def _utf8(text: str) -> str:
    """Headers come as Latin-1 from Starlette; proxies send names in UTF-8."""
    return text.encode("latin-1").decode()
