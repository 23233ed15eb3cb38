"""What every page is made with: the database, the templates, what the settings say."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Engine
from starlette.responses import HTMLResponse, RedirectResponse, Response

from model.errors import BundleError
from model.notice import NOTICE
from worker.bundles.roles import live_digest, open_by_digest
from worker.db.session import reading
from worker.errors import NotFound
from worker.status.film_life import plain_text
from worker.web.film_tools import FilmTools
from worker.web.operations.parts import Operations
from worker.web.page import Ask
from worker.web.people import WebRole
from worker.web.watching import Changes
from worker.web.worklist_views import Views

FOLDER = Path(__file__).parent
MENU = (("/", "Worklist"), ("/reading", "Reading"), ("/operations", "Operations"), ("/reports", "Reports"))


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """From the settings."""

    site: str
    """Name of the installation, "" without."""
    zone: ZoneInfo
    """In which times are shown."""
    bundle: Path | None
    """That is live while none is activated; None: the shipped one."""
    reports: Path | None = None
    """Folder of the reports of the night."""
    urgent: frozenset[str] = frozenset()
    """Findings whose flag stands before all others in the worklist."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a page may use."""

    database: Engine
    options: WebOptions
    films: FilmTools | None = None
    """None: no film is taken out or scored again here."""
    templates: Environment = field(init=False)
    _findings: dict[str, tuple[str, ...]] = field(init=False, default_factory=dict)
    """Of bundles that were live, by digest."""
    operations: Operations | None = None
    """None: those pages are not served."""
    changes: Changes = field(init=False)
    views: Views = field(init=False, default_factory=Views)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", Changes(self.database))
        templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.filters["clock"] = self.clock
        templates.filters["plain"] = plain_text
        templates.globals.update(notice=NOTICE, menu=MENU, site_name=self.options.site, roles=WebRole)
        object.__setattr__(self, "templates", templates)

    def clock(self, at: datetime | None) -> str:
        """A time as this site's clocks show it, "" for None."""
        return at.astimezone(self.options.zone).strftime("%Y-%m-%d %H:%M:%S") if at else ""

    def findings(self) -> tuple[str, ...]:
        """What a label can be: the findings of the live bundle. Raises NotFound where it is not here."""
        with reading(self.database) as connection:
            digest = live_digest(connection, self.options.bundle)
        if digest not in self._findings:
            try:
                bundle = open_by_digest(self.database, digest, self.options.bundle)
            except BundleError as error:
                raise NotFound(f"the live bundle cannot be opened here: {error}") from None
            self._findings[digest] = bundle.findings
        return self._findings[digest]

    def outside(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page for who is not signed in: nothing on it is of a film, a person or this installation but its name."""
        return HTMLResponse(self.templates.get_template(template).render(**values), status_code=status)

    def no_database(self) -> Response:
        """The same, where nothing can be looked up."""
        return self.outside(
            "outside.html",
            status=503,
            heading="The database does not answer now",
            text="Try again in a moment. Films are received meanwhile.",
        )

    def page(self, template: str, ask: Ask, *, status: int = 200, **values: Any) -> Response:
        """A whole page, or what htmx asked for, from a template."""
        text = self.templates.get_template(template).render(visit=ask.visit, here=ask.request.url.path, **values)
        return HTMLResponse(text, status_code=status)


def go_to(path: str) -> Response:
    """After a POST: the browser looks at another page of ours."""
    return RedirectResponse(path, status_code=303)
