"""The web page over a real database, without a socket."""

from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.testclient import TestClient

from worker.web.app import application
from worker.web.people import Person, Visit, WebRole
from worker.web.site import Site, WebOptions

CSRF = "token-of-this-visit"
sqlite_alone = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what asks the database nothing that others do not ask on both."""


class OneVisitor:
    """Doors that let in whoever the test says."""

    def __init__(self) -> None:
        self.person: Person | None = Person(name="alex", role=WebRole.ADMIN)

    def visit(self, request: Request) -> Visit | None:
        del request
        return Visit(person=self.person, csrf=CSRF) if self.person else None


@pytest.fixture
def doors() -> OneVisitor:
    return OneVisitor()


@pytest.fixture
def site(database: Engine) -> Site:
    return Site(database=database, options=WebOptions(site="", zone=ZoneInfo("UTC"), bundle=None))


@pytest.fixture
def browser(site: Site, doors: OneVisitor) -> TestClient:
    return TestClient(application(site, doors), follow_redirects=False)
