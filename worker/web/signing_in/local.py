"""Signing in with a name and a password of ours (XRAYQ_WEB_SIGN_IN=local)."""

import math
import secrets
import time

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from worker.errors import ConfigurationError
from worker.web.arrival import arrival_of
from worker.web.forms import is_ours, own_path, read_form
from worker.web.signing_in import users
from worker.web.signing_in.attempts import Attempts
from worker.web.signing_in.cookies import Cookie, token_of
from worker.web.signing_in.failures import TOO_MANY, Failures
from worker.web.signing_in.names import person_name
from worker.web.signing_in.passwords import matches
from worker.web.signing_in.session_doors import SessionDoors
from worker.web.signing_in.way import Way, open_route, signed_out
from worker.web.site import Site

NO_NAME = "?"
"""For what can be nobody's name."""
AT_ONCE = 2
"""Passwords that are looked at, 64 MiB each. Who comes meanwhile waits, and takes no thread from the pages."""
WRONG = "Name or password is wrong."
TOO_OLD = "This form was too old: please try again."


def local_way(site: Site, doors: SessionDoors, key: bytes) -> Way:
    """
    Args:
        key: of the installation.
    """
    form = _SignIn(site, doors, key)
    routes = (open_route(site, "/sign-in", form.show), open_route(site, "/sign-in", form.take, "POST"))
    return Way(doors=doors, pages=doors.pages, routes=(*routes, signed_out(site)))


class _SignIn:
    """The form, and what comes of it."""

    def __init__(self, site: Site, doors: SessionDoors, key: bytes) -> None:
        self._site = site
        self._doors = doors
        self._key = key
        self._cookie = Cookie("xrayq-form", key)
        self._attempts = Attempts()
        self._failures = Failures(site.database)
        self._turns = CapacityLimiter(AT_ONCE)

    async def show(self, request: Request) -> Response:
        to = own_path(request.query_params.get("next", "/"))
        if await to_thread.run_sync(self._doors.visit, request):
            return RedirectResponse(to, 303)
        return self._form(request, to)

    async def take(self, request: Request) -> Response:
        form = await read_form(request) or {}
        to = own_path(form.get("next", "/"))
        id = self._cookie.read(request)
        if id is None or not is_ours(request, form, token_of(self._key, id)):
            return self._form(request, to, 403, TOO_OLD)
        typed, password = form.get("name", ""), form.get("password", "")
        return await to_thread.run_sync(self._try, request, typed, password, to, limiter=self._turns)

    def _try(self, request: Request, typed: str, password: str, to: str) -> Response:
        address, name = arrival_of(request).address, _name(typed)
        if wait := self._attempts.wait(name, address, time.monotonic()):
            self._failures.tell(TOO_MANY, address=address)
            words = f"Too many attempts: try again in {math.ceil(wait / 60)} min."
            answer = self._form(request, to, 429, words, typed)
            answer.headers["retry-after"] = str(math.ceil(wait))
            return answer
        verified = users.password_hash(self._site.database, name)
        right = matches(verified, password)
        answer_in = self._doors.start_local(request, name, verified, to) if right and verified else None
        if answer_in is None:
            known = verified is not None
            why = "wrong_password" if known else "unknown_name"
            self._failures.tell(why, address=address, person=name if known else None)
            return self._form(request, to, 403, WRONG, typed)
        self._attempts.right(name, address)
        self._cookie.clear(request, answer_in)
        return answer_in

    def _form(self, request: Request, to: str, status: int = 200, fault: str = "", name: str = "") -> Response:
        id = self._cookie.read(request) or secrets.token_urlsafe(16)
        csrf = token_of(self._key, id)
        answer = self._site.outside("sign_in.html", status=status, csrf=csrf, to=to, fault=fault, name=name[:64])
        self._cookie.set(request, answer, id)
        return answer


def _name(typed: str) -> str:
    try:
        return person_name(typed)
    except ConfigurationError:
        return NO_NAME
