"""Who asks: each way of signing in is a `Doors`."""

import secrets
from typing import Protocol

from starlette.requests import Request

from worker.web.people import Person, Visit, WebRole

ANYBODY = "this machine"


class Doors(Protocol):
    """One way of signing in."""

    def visit(self, request: Request) -> Visit | None:
        """Whose request it is; None: nobody is signed in. May ask the database: called in a thread."""


class OpenDoors:
    """Nobody signs in: whoever reaches us may do everything. Only for an address of this machine alone."""

    def __init__(self) -> None:
        person = Person(name=ANYBODY, role=WebRole.ADMIN)
        self._visit = Visit(person=person, csrf=secrets.token_urlsafe(32), signed_in=False)

    def visit(self, request: Request) -> Visit | None:
        del request
        return self._visit
