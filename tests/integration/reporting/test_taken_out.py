"""A correction that a person takes out: nothing of the film before it goes out any more, and what was told is taken
back, whatever the destination has of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from tests.bundles import small_bundle
from tests.integration.reporting.site import Site
from tests.integration.reporting.test_messages import killed_at
from tests.mllp import LOST, ris
from tests.pacs import pacs
from tests.services import free_port
from worker import instances
from worker.bundles.roles import PlacedBundle, placed_bundle
from worker.db.session import reading
from worker.db.tables import instance
from worker.processes.result_options import routes as routes_of
from worker.reporting.couriers import Couriers
from worker.reporting.taken_out import TakeBack


def taking_back(site: Site, default: PlacedBundle | None = None) -> TakeBack:
    return TakeBack(routes_of(site.configured), not_analysed=True, default=default or placed_bundle(site.bundle))


def reject(
    site: Site,
    key: int,
    take_back: Callable[[Connection, int, datetime], instances.TakenBack] | None = None,
) -> instances.TakenBack:
    rejected = instances.reject(site.database, key, "operator:test", take_back or taking_back(site))
    return rejected.back


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

    def looking(connection: Connection, key: int, now: datetime) -> instances.TakenBack:
        with reading(site.database) as other:
            query = select(instance.c.id).where(instance.c.id.in_([first, second]))
            free.extend(other.execute(query.with_for_update(skip_locked=True, key_share=True)).scalars())
        return taking_back(site)(connection, key, now)

    assert reject(site, second, looking).told == (site.destinations[0].name,)
    assert free == []


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_pacs_took_a_part_of_counts_as_told(site: Site, killed: bool) -> None:
    """It refuses the picture behind the report, for a week; or the worker is killed before it records what it sent."""
    first = site.film()
    with pacs(site.destinations[0].port) as found:
        if killed:
            with killed_at(site, "INSERT INTO sent_object"):
                site.send()
        else:
            for hours in (0, 200):
                found.statuses = [0, 0xA900]
                site.later(hours)
                assert site.send() == ["status_0xA900"]
            assert site.lost() == [site.destinations[0].name]
        document = found.kept[0]
        second = site.film(end=False, PatientID="PID-CORRECTED")
        assert reject(site, second).told == (site.destinations[0].name,)
        site.later()
        assert site.send()[-1] == ""
    (named,) = found.kept[-1].PredecessorDocumentsSequence
    assert named.ReferencedSOPInstanceUID == document.SOPInstanceUID
    assert (site.state(first), site.state(second)) == ("scored", "ineligible")


def test_what_a_pacs_refused_was_not_told(site: Site) -> None:
    with pacs(site.destinations[0].port) as found:
        found.statuses = [0xA900, 0xA900]
        site.film()
        assert site.send() == ["status_0xA900"]
        site.film(PatientID="PID-CORRECTED")
        assert site.send() == [""]
    assert not found.kept[0].PredecessorDocumentsSequence


def test_what_may_have_arrived_at_a_destination_that_left_the_settings_keeps_no_film_in_the_queue(
    to_ris: Site, tmp_path: Path
) -> None:
    """No bundle of it is known any more either: then it is the live one that says that the film was taken out."""
    gone = replace(to_ris, routes=())
    other = placed_bundle(small_bundle(tmp_path / "other", seed=5))
    with ris(int(to_ris.routes[0].rpartition(":")[2]), LOST) as found:
        to_ris.film()
        assert to_ris.send(to_ris.every[0]) == ["hung_up"]
        to_ris.later(hours=200)
        assert Couriers(gone.delivery(), gone.every).sweep() == 1
        second = to_ris.film(end=False, PatientID="PID-CORRECTED")
        assert reject(to_ris, second, taking_back(gone)).not_told == (to_ris.every[0].name,)
        third = to_ris.film(end=False, PatientID="PID-AGAIN")
        assert reject(to_ris, third, taking_back(to_ris, other)).told == (to_ris.every[0].name,)
        assert to_ris.send(to_ris.every[0]) == [""]
    assert len(found.came) == 2


def test_what_another_sender_brought_is_taken_back_where_it_was_told(site: Site) -> None:
    """The correction came by the PACS, whose results go elsewhere, and nobody accepted it as a device."""
    routes = (*site.routes, f"PACS:B@127.0.0.1:{free_port()}")
    both = replace(site, routes=routes)
    both.film()
    with pacs(both.destinations[0].port) as found:
        assert both.send() == [""]
        second = both.film(end=False, calling_ae="PACS", PatientID="PID-CORRECTED")
        assert reject(both, second).told == (both.destinations[0].name,)
        assert both.send() == [""]
    assert found.kept[-1].SeriesDescription == "operator"
