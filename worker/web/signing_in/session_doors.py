"""People by their sessions: the browser has the session's id in a signed cookie. Each way of signing in ends here."""

from datetime import UTC, datetime

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from worker.web.arrival import arrival_of
from worker.web.forms import own_path
from worker.web.headers import FORGET
from worker.web.page import Ask, Page
from worker.web.people import Person, Visit, WebRole
from worker.web.signing_in import sessions
from worker.web.signing_in.cookies import Cookie, token_of
from worker.web.signing_in.sessions import Lengths
from worker.web.site import go_to

BY_HAND = ("a", "button", "form", "input", "select", "textarea")
"""Elements that ask when a person uses them. A section or div asks by itself, as lists that renew themselves do."""
SIGNED_OUT = "/signed-out"


class SessionDoors:
    """Who has a session that goes on."""

    def __init__(self, engine: Engine, key: bytes, lengths: Lengths, rules: str = "") -> None:
        """
        Args:
            key: of this installation: it signs cookies, and makes the tokens of forms.
            rules: who says who somebody is, and which roles that gives. A session that began under others is none.
        """
        self._engine = engine
        self._key = key
        self._lengths = lengths
        self._cookie = Cookie("xrayq-session", key, of=rules)
        self.pages = (Page(path="/sign-out", method="POST", least=WebRole.VIEWER, answer=self._sign_out),)

    def visit(self, request: Request) -> Visit | None:
        id = self._cookie.read(request)
        if id is None:
            return None
        now, seen = datetime.now(UTC), by_a_person(request)
        person = sessions.person_of(self._engine, id, self._lengths, now=now, seen=seen)
        return Visit(person=person, csrf=token_of(self._key, id)) if person else None

    def start(self, request: Request, person: Person, to: str) -> Response:
        """A session for somebody whom another has made sure of."""
        address = arrival_of(request).address
        id = sessions.start(self._engine, person, self._lengths, address=address, now=datetime.now(UTC))
        return self._in(request, id, to)

    def start_local(self, request: Request, name: str, verified: str, to: str) -> Response | None:
        """None where the password is not right any more."""
        address = arrival_of(request).address
        id = sessions.start_local(self._engine, name, verified, self._lengths, address=address, now=datetime.now(UTC))
        return self._in(request, id, to) if id else None

    def _in(self, request: Request, id: str, to: str) -> Response:
        """With the new session's cookie; one that this browser had before ends."""
        if before := self._cookie.read(request):
            sessions.end(self._engine, before, address=arrival_of(request).address)
        answer = RedirectResponse(own_path(to), 303)
        self._cookie.set(request, answer, id)
        return answer

    def _sign_out(self, ask: Ask) -> Response:
        if id := self._cookie.read(ask.request):
            sessions.end(self._engine, id, address=arrival_of(ask.request).address)
        answer = go_to(SIGNED_OUT)
        self._cookie.clear(ask.request, answer)
        answer.headers.update(FORGET)
        return answer


def by_a_person(request: Request) -> bool:
    """Whether somebody sits there. A page that is open and renews itself keeps nobody signed in.

    htmx says which element asks; of the rest a browser says whether it goes to a page or loads a part of one (Fetch
    Metadata). One that says nothing is believed.
    """
    if request.method == "POST":
        return True
    if source := request.headers.get("hx-source"):
        return source.partition("#")[0].lower() in BY_HAND
    return request.headers.get("sec-fetch-mode", "navigate") == "navigate"
