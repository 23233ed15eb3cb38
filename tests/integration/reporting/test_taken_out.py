"""A correction that a person takes out: nothing of the film before it goes out any more, and what was told is taken
back, whatever the destination has of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import Connection, select

from tests.integration.reporting.site import Site
from tests.mllp import ris
from tests.services import free_port
from worker import instances
from worker.bundles.roles import PlacedBundle, placed_bundle
from worker.db.session import reading
from worker.db.tables import instance
from worker.processes.result_options import routes as routes_of
from worker.reporting.taken_out import TakeBack


def taking_back(site: Site, default: PlacedBundle | None = None) -> TakeBack:
    return TakeBack(routes_of(site.configured), not_analysed=True, default=default or placed_bundle(site.bundle))


def reject(
    site: Site,
    key: int,
    take_back: Callable[[Connection, int, datetime], tuple[str, ...]] | None = None,
) -> instances.Rejected:
    return instances.reject(site.database, key, "operator:test", take_back or taking_back(site))


@pytest.fixture
def to_ris(site: Site) -> Site:
    """Results go to a RIS alone, at a port at which nothing listens yet."""
    return replace(site, routes=(f"CR1:mllp://127.0.0.1:{free_port()}",))


def test_a_film_that_is_scored_after_its_correction_was_taken_out_is_told_nowhere(to_ris: Site) -> None:
    """Both waited in a backlog, and the first one may bear another patient's name."""
    first, second = to_ris.film(end=False), to_ris.film(end=False, PatientID="PID-CORRECTED")
    assert reject(to_ris, second).told == ()
    to_ris.end(first)
    with ris(int(to_ris.routes[0].rpartition(":")[2])) as found:
        assert to_ris.send(to_ris.every[0]) == ["replaced"]
        to_ris.film(PatientID="PID-AGAIN")
        assert to_ris.send(to_ris.every[0]) == [""]
    assert len(found.came) == 1


def test_nothing_of_the_film_before_changes_while_its_correction_is_taken_out(site: Site) -> None:
    """Else its result could be recorded as sent between two looks at what the destination has."""
    if site.database.dialect.name == "sqlite":
        pytest.skip("one transaction writes at a time")
    first = site.film()
    second = site.film(end=False, PatientID="PID-CORRECTED")
    free: list[int] = []

    def looking(connection: Connection, key: int, now: datetime) -> tuple[str, ...]:
        with reading(site.database) as other:
            query = select(instance.c.id).where(instance.c.id.in_([first, second]))
            free.extend(other.execute(query.with_for_update(skip_locked=True, key_share=True)).scalars())
        return taking_back(site)(connection, key, now)

    assert reject(site, second, looking).told == (site.destinations[0].name,)
    assert free == []
