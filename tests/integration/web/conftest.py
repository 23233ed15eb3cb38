"""The web page over a real database, without a socket."""

from contextlib import nullcontext
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.testclient import TestClient

from worker.health.client import ProcessAddress
from worker.peers.deciding import unread
from worker.reporting.destinations import routes_of
from worker.reporting.taken_out import TakeBack
from worker.status.snapshot import StatusOptions
from worker.web.app import application
from worker.web.operations.parts import Operations, OperationsOptions
from worker.web.people import Person, Visit, WebRole
from worker.web.site import Site, WebOptions

CSRF = "token-of-this-visit"
sqlite_alone = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what asks the database nothing that others do not ask on both."""


class OneVisitor:
    """Doors that let in whoever the test says."""

    def __init__(self) -> None:
        self.person: Person | None = Person(name="alex", role=WebRole.ADMIN)
        self.csrf = CSRF

    def visit(self, request: Request) -> Visit | None:
        del request
        return Visit(person=self.person, csrf=self.csrf) if self.person else None


@pytest.fixture
def doors() -> OneVisitor:
    return OneVisitor()


@pytest.fixture
def operations(database: Engine, tmp_path: Path) -> OperationsOptions:
    """Of a site whose processes have no endpoints, and whose results go nowhere."""
    roles = ("gateway", "relay", "worker")
    routes = routes_of(())
    return OperationsOptions(
        status=StatusOptions(
            database_url=database.url.render_as_string(hide_password=False),
            spool=tmp_path,
            reserve_bytes=1 << 20,
            bundle=None,
            zone=ZoneInfo("UTC"),
            backlog_seconds=600,
            processes=tuple(ProcessAddress(role=role, host="127.0.0.1", port=0, installation="") for role in roles),
        ),
        routes=routes,
        default=None,
        take_back=TakeBack(routes, not_analysed=True, default=None),
        compare=lambda: nullcontext(unread),
        margin=0.1,
        strangers="quarantine",
    )


@pytest.fixture
def site(database: Engine, operations: OperationsOptions) -> Site:
    options = WebOptions(site="", zone=ZoneInfo("UTC"), bundle=None)
    return Site(database=database, options=options, operations=Operations(database, operations))


@pytest.fixture
def browser(site: Site, doors: OneVisitor) -> TestClient:
    return TestClient(application(site, doors), follow_redirects=False)
