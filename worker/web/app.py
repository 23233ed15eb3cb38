"""The application: every page behind its guard, the files of the folder `static`, and headers on all of it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from worker.web import before_go_live, film, film_pictures, live, reading, reports, worklist
from worker.web.arrival import Door, Entrance
from worker.web.doors import Doors
from worker.web.guard import guarded, no_page
from worker.web.headers import SecurityHeaders
from worker.web.operations import pages as operations
from worker.web.page import Page
from worker.web.site import Site
from worker.web.unexpected import Unexpected


class Key(Convertor[int]):
    """A key of the database in a path. Starlette's own takes any number of digits, and int() no more than 4300."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("int", Key())

PAGES: tuple[Page, ...] = (
    *worklist.PAGES,
    *film.PAGES,
    *film_pictures.PAGES,
    *reading.PAGES,
    *live.PAGES,
    *operations.PAGES,
    *reports.PAGES,
    *before_go_live.PAGES,
)


def application(
    site: Site,
    doors: Doors,
    pages: Iterable[Page] = PAGES,
    *,
    outside: Sequence[BaseRoute] = (),
    entrance: Entrance | None = None,
) -> Starlette:
    """Everything that the web page answers.

    Args:
        outside: what is before the doors, such as the page on which people sign in.
        entrance: None: every name, and no proxy.
    """
    routes = [Route(page.path, guarded(page, site, doors), methods=[page.method]) for page in pages]
    static = Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    nothing = Mount("", no_page(site, doors))  # takes every path and method that those before it do not
    ours = [Middleware(SecurityHeaders), Middleware(Unexpected, site), Middleware(Door, entrance)]
    return Starlette(routes=[*outside, *routes, static, nothing], middleware=ours)
