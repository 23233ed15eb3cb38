"""What several tests of the services together need."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests import days
from tests.nightly import FRIDAY, plan_for
from tests.still import no_pictures
from worker.db.session import writing
from worker.nightly import schedule
from worker.nightly.schedule import NightlySchedule
from worker.queue import errands
from worker.queue.errands import Kind


@pytest.fixture
def drawn() -> None:
    """For who looks at the pictures of a page."""


@pytest.fixture(autouse=True)
def no_drawing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages made in this process hold none: drawing is three quarters of their time. Child processes draw."""
    if "drawn" not in request.fixturenames:
        no_pictures(monkeypatch)


@pytest.fixture
def plan(database: Engine, database_url: str, tmp_path: Path) -> NightlySchedule:
    """Of a database with a few films of Friday, whose report is due."""
    days.fill(database, FRIDAY, 30, shares=days.Shares(failed=0.1))
    made_plan = plan_for(database_url, tmp_path)
    with writing(database) as connection:
        errands.add(connection, Kind.NIGHT, FRIDAY.isoformat(), schedule.due(FRIDAY, made_plan))
    return made_plan
