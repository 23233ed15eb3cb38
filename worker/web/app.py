"""The application: every page behind its guard, the files of the folder `static`, and headers on all of it."""

from collections.abc import Iterable
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from worker.web import before_go_live, film, live, reading, reports, worklist
from worker.web.doors import Doors
from worker.web.guard import guarded
from worker.web.headers import SecurityHeaders
from worker.web.operations import pages as operations
from worker.web.page import Page
from worker.web.site import Site

PAGES: tuple[Page, ...] = (
    *worklist.PAGES,
    *film.PAGES,
    *reading.PAGES,
    *live.PAGES,
    *operations.PAGES,
    *reports.PAGES,
    *before_go_live.PAGES,
)


def application(site: Site, doors: Doors, pages: Iterable[Page] = PAGES) -> Starlette:
    """Everything that the web page answers."""
    routes = [Route(page.path, guarded(page, site, doors), methods=[page.method]) for page in pages]
    static = Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    return Starlette(routes=[*routes, static], middleware=[Middleware(SecurityHeaders)])
