"""What every page is made with: the database, the templates, what the settings say."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Engine
from starlette.responses import HTMLResponse, RedirectResponse, Response

from model.notice import NOTICE
from worker.web.page import Ask
from worker.web.people import WebRole

FOLDER = Path(__file__).parent
MENU = (("/", "Worklist"), ("/reading", "Reading"), ("/operations", "Operations"), ("/reports", "Reports"))


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """From the settings."""

    site: str
    """Name of the installation, "" without."""
    zone: ZoneInfo
    """In which times are shown."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a page may use."""

    database: Engine
    options: WebOptions
    templates: Environment = field(init=False)

    def __post_init__(self) -> None:
        templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.filters["clock"] = self.clock
        templates.globals.update(notice=NOTICE, menu=MENU, site_name=self.options.site, roles=WebRole)
        object.__setattr__(self, "templates", templates)

    def clock(self, at: datetime | None) -> str:
        """A time as this site's clocks show it, "" for None."""
        return at.astimezone(self.options.zone).strftime("%Y-%m-%d %H:%M:%S") if at else ""

    def page(self, template: str, ask: Ask, *, status: int = 200, **values: Any) -> Response:
        """A whole page, or what htmx asked for, from a template."""
        text = self.templates.get_template(template).render(visit=ask.visit, here=ask.request.url.path, **values)
        return HTMLResponse(text, status_code=status)


def go_to(path: str) -> Response:
    """After a POST: the browser looks at another page of ours."""
    return RedirectResponse(path, status_code=303)
