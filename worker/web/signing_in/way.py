"""A way of signing in, put together: who is signed in, and the pages before that."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from worker.web.doors import Doors
from worker.web.page import Page
from worker.web.signing_in.session_doors import SIGNED_OUT
from worker.web.site import Site

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Way:
    """What the application needs of one."""

    doors: Doors
    pages: Sequence[Page] = ()
    """For who is signed in, such as signing out."""
    routes: Sequence[Route] = ()
    """For everybody."""


def open_route(site: Site, path: str, handler: Handler, method: str = "GET") -> Route:
    """A page that nobody guards."""

    async def serve(request: Request) -> Response:
        try:
            return await handler(request)
        except SQLAlchemyError:
            return site.no_database()

    return Route(path, serve, methods=[method])


def signed_out(site: Site) -> Route:
    """Where who signed out arrives. Elsewhere, at a proxy or provider, they may be signed in still."""

    async def page(request: Request) -> Response:
        del request
        return site.outside(
            "outside.html",
            heading="Signed out",
            text="You are signed out of xrayq. On a computer that others use, close the browser too.",
            again="/sign-in",
        )

    return open_route(site, SIGNED_OUT, page)
