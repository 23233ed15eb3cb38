"""What a page is made of: where it stands, who may see it, what it is asked, what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from worker.web.people import Visit, WebRole

if TYPE_CHECKING:
    from worker.web.site import Site


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request of somebody who may make it."""

    site: "Site"
    visit: Visit
    request: Request
    form: Mapping[str, str]
    """Of a POST; whose CSRF token was right."""

    @property
    def actor(self) -> str:
        """In the audit trail."""
        return self.visit.person.actor

    @property
    def browser(self) -> str | None:
        """One session of a person, for limits of what one may take; None where nobody signs in and all are one."""
        return self.visit.csrf if self.visit.signed_in else None

    @property
    def of_htmx(self) -> bool:
        """Whether a part of the page is wanted, and not the whole."""
        return self.request.headers.get("hx-request") == "true"

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        """A parameter of the URL, "" without."""
        return self.request.query_params.get(name, "")


@dataclass(frozen=True, kw_only=True)
class Page:
    """One path and method. Runs in a thread: it may ask the database."""

    path: str
    """As Starlette has it: /film/{instance:int}."""
    least: WebRole
    """Who may ask."""
    answer: Callable[[Ask], Response]
    """Raises NotFound, WrongState and other WorkerErrors, which become pages that say so."""
    method: str = "GET"
    """Or POST: whatever changes something."""
    part: bool = False
    """Whether our own pages alone ask for it: a picture, or a file to keep. Another site may lead to any other page."""
